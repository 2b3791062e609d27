/// Counts what go-yaml counts against aliases that unfold into more than the document has ("billion laughs"), and decides as it
/// does (`decode.go` of go-yaml v2: `allowedAliasRatio`).
#[derive(Default)]
pub(crate) struct Aliasing {
    /// Nodes decoded, those of aliases included.
    decoded: usize,
    /// Nodes decoded inside aliases.
    aliased: usize,
    /// Nodes copied because they have an anchor.
    kept: usize,
    /// Bytes of text copied for anchors and aliases. Go shares them, Rust's strings cannot.
    copied_bytes: usize,
}

impl Aliasing {
    /// Below this many decoded nodes nearly all may come from aliases.
    const SMALL: usize = 400_000;
    /// From here on a tenth may.
    const LARGE: usize = 4_000_000;

    pub(crate) fn count(&mut self) {
        self.decoded += 1;
    }

    pub(crate) fn counted(&self) -> usize {
        self.decoded
    }

    /// Counts the nodes that an alias brings. False if go-yaml refuses them.
    pub(crate) fn expand(&mut self, nodes: usize) -> bool {
        self.decoded += nodes;
        self.aliased += nodes;
        !self.is_excessive()
    }

    /// Counts the copy of an anchored value. False if copies and nodes together are more than `limit`.
    pub(crate) fn keep(&mut self, nodes: usize, limit: usize) -> bool {
        self.kept += nodes;
        self.kept + self.decoded <= limit
    }

    /// Counts the copy of some text. False if the copies are longer than `limit` together.
    pub(crate) fn copy(&mut self, bytes: usize, limit: usize) -> bool {
        self.copied_bytes = self.copied_bytes.saturating_add(bytes);
        self.copied_bytes <= limit
    }

    #[expect(clippy::cast_precision_loss, reason = "the counts stay far below 2^52")]
    pub(crate) fn is_excessive(&self) -> bool {
        if self.aliased <= 100 || self.decoded <= 1000 {
            return false;
        }
        let allowed = match self.decoded {
            ..=Self::SMALL => 0.99,
            Self::LARGE.. => 0.10,
            between => 0.99 - 0.89 * ((between - Self::SMALL) as f64 / (Self::LARGE - Self::SMALL) as f64),
        };
        self.aliased as f64 / self.decoded as f64 > allowed
    }
}
