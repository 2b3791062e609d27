//! Every error code, its meaning and the next step: the source of `evenkeel explain` and of docs/ERRORS.md.
//!
//! A code is never reused for something else. Ranges: 1xxx the config repository, 2xxx Git, 3xxx connections to
//! clusters, 4xxx syncing, 5xxx the ledger and the state directory, 6xxx the command line and its settings.

use std::fmt;

/// The blocks of codes: the first digit of their numbers, and what they are about.
pub const BLOCKS: [(char, &str); 6] = [
    ('1', "The config repository"),
    ('2', "Git"),
    ('3', "Connections to clusters"),
    ('4', "Syncing"),
    ('5', "The ledger and the state directory"),
    ('6', "The command line and its settings"),
];

/// A stable error code with the text that explains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code {
    /// `EK` and four digits.
    pub id: &'static str,
    /// What it means, in a few words.
    pub title: &'static str,
    /// What it usually comes from; empty where the title says it.
    pub causes: &'static str,
    /// What to do next, where the place of the error knows nothing better.
    pub next: &'static str,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id)
    }
}

impl Code {
    /// The codes of one of the [`BLOCKS`].
    pub fn of_block(digit: char) -> impl Iterator<Item = Self> {
        ALL.iter().copied().filter(move |code| code.id[2..].starts_with(digit))
    }

    /// The code of that number (`EK1001`, any case), if there is one.
    pub fn find(id: &str) -> Option<Self> {
        ALL.iter().copied().find(|code| code.id.eq_ignore_ascii_case(id))
    }
}

macro_rules! codes {
    ($($name:ident $id:literal $title:literal $(because $causes:literal)? => $next:literal;)*) => {
        $(
            #[doc = $title]
            pub const $name: Code = Code { id: $id, title: $title, causes: concat!("" $(, $causes)?), next: $next };
        )*
        /// All codes, in the order of their numbers.
        pub const ALL: &[Code] = &[$($name),*];
    };
}

codes! {
    // 1xxx: the config repository
    YAML "EK1001" "A file is not YAML that kubectl would read"
        because "A bracket or quote that is not closed, a tab as indentation, or text that a template tool should have filled in."
        => "Mend the file at the place named; `kubectl apply --dry-run=client -f FILE` reads it the same way.";
    NOT_AN_OBJECT "EK1002" "A document is not a Kubernetes object"
        because "A values file or other data among the manifests; a document without a name; a name that YAML reads as a number."
        => "Give it apiVersion, kind and metadata.name, or name the file in .evenkeelignore if it is not a manifest.";
    STRAY_FILE "EK1003" "A file or folder stands where the layout has no place for it"
        because "A manifest outside of every layer, such as one beside `base/` in an environment; a cluster's folder without cluster.yaml; a symbolic link or submodule."
        => "Move it to a layer (a `base` folder or a cluster's folder), or name it in .evenkeelignore.";
    FLEET_FILE "EK1004" "evenkeel.yaml is missing or wrong"
        because "The command runs in another folder than the repository's root; a field is misspelt or has a value of another form; the fleet has no name."
        => "Mend what is named; docs/REPOSITORY.md lists the fields of evenkeel.yaml.";
    OWN_KIND "EK1005" "A file of Evenkeel's own kinds is wrong"
        because "A field is misspelt, stands at the wrong depth, or has a value of another type."
        => "Mend the field named; docs/REPOSITORY.md lists the fields of each kind.";
    NOT_BUILT_YET "EK1006" "A feature that this version does not have"
        because "The field, kind or folder is part of the design, and a later version will read it."
        => "Remove the field, or use a version that has it; nothing is ignored in silence.";
    NAME_MISMATCH "EK1007" "metadata.name differs from the folder's name"
        because "A folder was copied or renamed, and the name in its file was not changed."
        => "Rename the folder or the name; they must be the same.";
    DUPLICATE_OBJECT "EK1008" "The same object stands twice in one layer"
        because "A copied file; one object in two files of the same layer; an overlay's `namespace` that moves two objects to one name."
        => "Keep one; a change of it belongs in a deeper layer or in a *.patch.yaml.";
    NO_NAMESPACE "EK1009" "A namespaced object has no namespace"
        because "The namespace was left to `kubectl -n`. Here nothing outside of the repository can give it."
        => "Set metadata.namespace, or `namespace:` in the overlay.yaml beside it.";
    PATCH_WITHOUT_TARGET "EK1010" "A patch has no target"
        because "A mistyped name, kind or namespace; an object that is given in a deeper layer only, or was deleted by a patch before."
        => "A *.patch.yaml may only change objects that a layer above or beside it gives.";
    BUNDLE_MISMATCH "EK1011" "A bundle's folder changes another bundle's object"
        because "An object moved to another bundle in the layer above, and its patches stayed behind."
        => "Move it to that bundle's folder, or to the layer's root folder, which may patch any bundle.";
    OVERLAY "EK1012" "An overlay cannot be applied"
        because "A JSON patch whose path does not exist; a patch file outside of the layer; a target that is not a regular expression."
        => "Mend the overlay.yaml at the place named.";
    RESERVED_FIELD "EK1013" "A field that only the server or Evenkeel may set"
        because "The manifest was written by `kubectl get -o yaml`, which shows what the server added."
        => "Remove the field from the manifest.";
    CLUSTER_TWICE "EK1014" "Two clusters have the same name"
        because "A cluster was moved to another region, and the old folder is still there."
        => "A cluster's name is unique in the fleet; rename one folder.";
    ANNOTATION "EK1015" "An evenkeel.dev annotation is unknown or has a wrong value"
        because "A misspelt annotation, or a value that it does not have."
        => "docs/REPOSITORY.md lists the annotations and their values.";
    MERGE "EK1016" "A patch does not fit its target"
        because "A list where the object has a mapping, or an item of a list without the key by which its items are told apart."
        => "Mend the patch at the place named.";
    NOT_UTF8 "EK1017" "A file is not UTF-8 text or is too large"
        because "An archive or picture with the name of a manifest, or a file saved in another encoding."
        => "Manifests are UTF-8 and at most 8 MiB; name other files in .evenkeelignore.";
    UNKNOWN_CLUSTER "EK1018" "No cluster of that name" => "`evenkeel status` lists the clusters; names are the folders' names.";
    PROTECTED_IDENTITY "EK1019" "An object that Evenkeel keeps for itself"
        because "A ConfigMap with the name and namespace of the one in which Evenkeel keeps what it knows of the cluster."
        => "Choose another name; the parent of the fleet's objects is written by Evenkeel alone.";
    NEAR_MISS "EK1020" "Something looks like a slip of the pen"
        because "A name that is one letter away from a known one; a folder that no cluster uses."
        => "If it is meant, nothing needs to be done; otherwise correct the name.";
    IGNORE_FILE "EK1021" ".evenkeelignore is wrong" => "Mend the line named; the syntax is that of .gitignore.";
    DOUBTFUL "EK1022" "Something is valid but probably not meant" => "If it is meant, nothing needs to be done.";
    COMPONENT "EK1023" "A component cannot be included" => "A component is a folder directly under components/; give its path as seen from the overlay.yaml, such as ../components/NAME.";
    NO_DEPENDENCY "EK1024" "A bundle depends on one that there is not"
        because "A mistyped name; a bundle that only other clusters' layers have."
        => "Correct the name in dependsOn, or state the dependency in a layer that has both bundles.";
    CYCLE "EK1025" "Bundles depend on each other in a circle"
        because "Each of them waits for the next to be healthy, so that none would ever be written. Layers' dependsOn add up."
        => "Take one of the dependencies on the way that is shown out of its bundle.yaml.";
    EXPRESSION "EK1027" "A CEL expression is wrong"
        because "A misspelt field or function, a bracket that is not closed, or text that YAML reads otherwise than it looks."
        => "Mend the expression at the place named; put it in quotes or behind `|-` where YAML gets in its way.";
    HEALTH_RULE "EK1028" "There can be no such health rule"
        because "Two rules of one list are for the same kind, perhaps in two versions; a rule is for Secrets."
        => "Keep one rule for each group and kind; a bundle's own rule goes into its bundle.yaml.";
    INCOMPLETE "EK1030" "An object lacks fields that its kind requires" => "Give the object whole; if a patch is meant, correct its kind, namespace and name so that it finds its target.";
    SCHEMA "EK1031" "A field is not as its kind has it" => "Correct the field named; `kubectl explain KIND.FIELD` shows what a kind has.";
    NOT_SERVED "EK1032" "Kubernetes does not serve that kind in that version" => "Correct apiVersion and kind; the message names the versions that there are.";
    UNKNOWN_KIND "EK1033" "Nothing is known of a kind" => "If its CustomResourceDefinition is installed some other way, nothing needs to be done; otherwise put it in the repository, or correct apiVersion and kind.";
    IDLE "EK1040" "Something in the repository does nothing"
        because "What a patch or an overlay sets is so already, perhaps since a layer above was changed; a selector that matches nothing any more; a component that no layer names."
        => "Remove it, or correct what it should reach; every reader believes that it does something.";
    ROLLOUT "EK1041" "The settings of the rollout are wrong"
        because "A selector, a time of day, a date or a time zone that is none, a wave that could never begin, two waves of one name."
        => "Mend the setting named; docs/REPOSITORY.md, section Rollout, has all of them.";
    NO_WAVE "EK1042" "No wave selects the cluster"
        because "The selectors of spec.rollout leave it out, so that no commit would ever reach it."
        => "Give the cluster the labels of a wave, or add a last wave for all others with the selector `environment`.";

    ALL_IGNORED "EK1074" ".evenkeelignore leaves out every cluster"
        because "A pattern that is too wide, such as a single `*`."
        => "Take the pattern out, or make it narrower; a `!` pattern after it takes files in again. The clusters stay as they are meanwhile. To have them left alone, take their folders out, or set `spec.paused` in evenkeel.yaml.";

    // 2xxx: Git
    GIT_UNREACHABLE "EK2001" "The remote cannot be reached"
        because "The network, a proxy or DNS; a remote that is down; a mistyped address."
        => "The fleet stays as it is; check the network, the address and the remote's own state.";
    GIT_AUTH "EK2002" "The remote refused the credentials"
        because "An expired token, a key that the remote does not know, a host key that is missing in known_hosts."
        => "Check the token, key or known_hosts file given with --git-*; nothing was changed on any cluster.";
    GIT_NO_BRANCH "EK2003" "The branch does not exist, or the repository is empty"
        because "A new repository without a commit, or a branch that was renamed or deleted."
        => "Push the branch; Evenkeel goes on by itself when it is there.";
    GIT_TIMEOUT "EK2004" "A fetch took longer than its deadline"
        because "A very large first fetch, or a remote that accepts connections and does not answer."
        => "Raise --git-timeout if the repository is large; otherwise the network or the remote hangs.";
    GIT_BROKEN "EK2005" "The local mirror cannot be read or written"
        because "A full or failing disk, or files of the mirror that something else removed."
        => "Check the disk; the mirror under the state directory may be deleted, it is fetched again.";
    GIT_REV "EK2006" "No such revision" => "Give at least 7 characters of a commit hash of the followed branch.";
    GIT_URL "EK2007" "The remote's address or a credential setting is wrong" => "Use a path, file://, http(s):// or ssh:// address, or user@host:path.";
    GIT_PROGRAM "EK2008" "The git program cannot be run" => "Install git 2.32 or newer, with ssh for ssh remotes, where the agent's PATH finds it.";
    GIT_OBJECTS "EK2009" "The remote sent objects that fail Git's checks" => "Run `git fsck` on the remote; what it names is damaged or could harm a checkout. The fleet stays as it is.";

    // 3xxx: connections to clusters
    KUBECONFIG "EK3001" "The kubeconfig has no usable connection for the cluster"
        because "No context has the cluster's name; a context names a user or cluster that the file does not have."
        => "Add a context named like the cluster, or set spec.connection in its cluster.yaml.";
    UNREACHABLE "EK3002" "The cluster's API server cannot be reached"
        because "The API server is down or restarts; a firewall, proxy or DNS stands in between."
        => "Check that the API server runs and that the agent's machine reaches it. It is probed at least once a minute, and the cluster goes on by itself when it answers. Other clusters go on, but for those of a wave that waits for it: `evenkeel why` says whether one does.";
    CLUSTER_AUTH "EK3003" "The API server refused the credentials"
        because "An expired certificate or token; an exec plugin that fails; a user that was removed."
        => "Check the user in the agent's kubeconfig: its certificate's dates, its token, its exec plugin. A kubeconfig that changed is read again by itself.";
    WRONG_CLUSTER "EK3004" "The address reaches another cluster than before"
        because "The cluster was rebuilt under its old address, or a context was pointed at another one. The uid of its kube-system namespace tells."
        => "If the cluster was rebuilt on purpose: `evenkeel accept-cluster NAME`. Nothing is written until then.";
    DISCOVERY "EK3005" "The API server's list of APIs cannot be read"
        because "An aggregated API whose backend is down, or an API server that is still starting."
        => "Look at the API server's health (`kubectl get --raw /readyz?verbose`) and at broken APIServices.";
    SERVER_ERROR "EK3006" "The API server answered with an error of its own" => "Tried again by itself; look at the API server's log if it stays.";
    CONNECTION_PATH "EK3007" "spec.connection points outside of the agent's kubeconfig folder" => "Put the file beside the agent's kubeconfig; the repository cannot name other paths.";

    // 4xxx: syncing
    REFUSED "EK4001" "The server refuses an object of the bundle"
        because "A field that the kind does not have; a value out of range; an admission webhook or policy; a quota."
        => "Nothing of the bundle was written. Change the manifest or the policy named by the server; it is tried again slowly.";
    CONFLICT "EK4002" "Another field manager owns fields of an object that was there before"
        because "The object was made by kubectl, Helm, an operator or another tool before Evenkeel came."
        => "Set evenkeel.dev/adopt: allow on the object to take it over, or remove it from one of the two.";
    OTHER_FLEET "EK4003" "The object belongs to another fleet" => "An object can belong to one fleet only; remove it from one of the two repositories.";
    NO_KIND "EK4004" "The cluster does not serve that kind"
        because "A misspelt kind, a version that the cluster no longer serves, or a definition that another tool installs."
        => "Install its CustomResourceDefinition, or correct apiVersion and kind.";
    NOT_ESTABLISHED "EK4005" "A CustomResourceDefinition did not become Established in time" => "Look at its status.conditions; names may clash with another definition.";
    WRITE_FAILED "EK4006" "A write failed after its dry run passed" => "Tried again by itself; the server's words say why.";
    OTHER_HOLDER "EK4007" "Another agent holds the cluster"
        because "Two agents follow the same fleet, such as the old one and its replacement; or an agent lost its state directory, and with it the name under which it held the cluster."
        => "One agent writes a cluster at a time; this one waits. Where the other one is gone, this one takes over by itself, some 70 s after it asked, which it does every half minute; where it runs, stop one of the two.";
    DELETE_FAILED "EK4008" "An object could not be deleted"
        because "A finalizer whose controller is gone, or a webhook that refuses deletions."
        => "Look at its finalizers; it stays recorded and is tried again.";
    HELD "EK4009" "Deletions are held for approval"
        because "A bundle, layer or cluster entry vanished; many objects left at once; a namespace, definition or volume would go."
        => "Look at them with `evenkeel status -o json`; put the files back, or approve that exact plan.";
    IMMUTABLE "EK4010" "A field that cannot be changed on a live object" => "Set evenkeel.dev/recreate: on-immutable on the object to have it deleted and created anew.";
    FORBIDDEN "EK4011" "The agent lacks the right to do that on the cluster" => "Give its user the missing RBAC rule; the server's words name it.";
    LOST_HOLD "EK4012" "The hold on the cluster went to another agent in mid-sync" => "This agent stopped writing at once; it waits until the other is gone.";
    PAUSED "EK4013" "Paused in the repository" => "Remove spec.paused where it stands; nothing is written until then.";
    DEGRADED "EK4014" "An object will not become healthy by itself" => "It was applied as the repository says; its own status says what is wrong. Mend the manifest or what it needs.";
    FIGHT "EK4015" "Another writer undoes what the repository says, again and again"
        because "A controller, a person or another tool that sets the same field, and sets it again whenever it is put back."
        => "Stop the other writer, or leave it the field: name it in evenkeel.dev/ignore on the object in Git. With evenkeel.dev/drift: report the object is left as it is.";
    HALF_WRITTEN "EK4016" "The server refuses an object, and others of its bundle may be written"
        => "There were no dry runs (spec.validate: none). Change the manifest or the policy named by the server; it is tried again slowly.";
    KEPT_WHOLE "EK4017" "A field cannot be given up, since the API server keeps it as a part of a larger one"
        => "Name the larger field in evenkeel.dev/ignore, or take the pointer out.";
    GATE "EK4020" "A bundle waits for another to be healthy"
        because "A rollout takes its time, or does not get on: too few nodes, an image that is not there."
        => "It goes on by itself. If it does not: look at the object named, or raise spec.deadline of its bundle.";
    DEPENDENCY_DEGRADED "EK4021" "What a bundle waits for will not become healthy by itself"
        because "A rollout that ran out of its time, or a Job that failed, in a bundle that dependsOn names."
        => "Mend the object named. The bundle is written as soon as it is healthy; what was written before stays.";
    DEPENDENCY_LATE "EK4022" "What a bundle waits for was not healthy within its deadline"
        because "A rollout that does not get on, or that takes longer than spec.deadline of its bundle (10m where it is not said)."
        => "Mend the object named, or raise the deadline. The bundle is written as soon as it is healthy; `evenkeel sync` waits anew.";
    HOOK_FAILED "EK4023" "A hook failed"
        because "The Job's own words are in the message; its pods' logs say more."
        => "Nothing more of the bundle is done. Mend the Job or what it needs and push, or `evenkeel sync` to run it again.";
    HOOK_RUNS "EK4024" "A bundle waits for its hook to complete" => "It goes on by itself when the Job has completed; its activeDeadlineSeconds bounds how long it may take.";
    DEPENDENCY_FAILED "EK4025" "A bundle was not written because one that it depends on was refused or failed" => "Mend the bundle named; this one follows.";

    TERMINATING "EK4035" "The namespace is being deleted"
        because "Someone deleted it, and it goes when it is empty: its status says what is left in it."
        => "Nothing can be created in it meanwhile. What Git wants comes back by itself when it is gone; if it does not go, look for finalizers in it.";
    QUOTA "EK4036" "A quota of the namespace is used up"
        because "Several objects that fit one by one and not together; objects of others in the namespace."
        => "Raise the ResourceQuota, or ask for less; it is tried again at least once a minute.";
    LINGERING "EK4037" "A deleted object does not go"
        because "A finalizer whose controller is gone, or does not get its work done."
        => "The rest goes on. Look at the controller of the finalizer; only if it is gone for good, remove the finalizer by hand.";
    UNMARKED "EK4038" "The cluster takes away the marks by which the fleet knows its objects"
        because "A mutating webhook or policy that removes labels or annotations which it does not know."
        => "Let it leave applyset.kubernetes.io/part-of and evenkeel.dev/* alone; without them the object could never be deleted with Git.";
    WAVE "EK4040" "The cluster waits for its wave" => "`evenkeel status` shows what the waves wait for; nothing needs to be done where it is a matter of time.";
    RETURNED "EK4041" "The cluster was put back after a commit failed on it"
        because "spec.rollout.onFailure is return, and what the commit gives did not do well there."
        => "Push a commit that mends it, or, once the cause is gone, `evenkeel retry SELECTOR`.";
    OTHER_RENDERING "EK4042" "What the cluster was to run cannot be rendered as it was"
        because "The agent was upgraded, or the cluster serves other kinds than before, and the commit gives something else now. Or the state directory was lost, and with it the key for the digests of Secrets, after an agent that did not name its key on the cluster yet."
        => "Nothing is written to the cluster until its wave brings what the newest commit gives; it needs no help. One that a person put back waits for `evenkeel rollback SELECTOR REV`, which takes what the commit gives now, or `evenkeel retry SELECTOR`, after which it follows its wave.";
    ROLLED_BACK "EK4043" "A person put the cluster to another commit" => "`evenkeel retry SELECTOR` has it follow the branch again.";
    HALTED "EK4044" "The rollout halted"
        because "What a commit gives failed on a cluster: refused, degraded, or not healthy in time."
        => "Push a commit that mends it; `evenkeel status` shows the cause and how far it got.";
    NO_WAY_BACK "EK4045" "The commit that the cluster is put to cannot be rendered for it"
        because "The commit has a mistake in what the cluster reads, or does not have the cluster."
        => "Name another commit with `evenkeel rollback`, or `evenkeel retry SELECTOR`.";
    LATE "EK4046" "The cluster did not become healthy in time"
        because "A rollout that does not get on, or that takes longer than spec.deadline of its bundle (10m where it is not said)."
        => "Look at the objects that are in progress; give the bundle a longer spec.deadline where it needs one.";
    ON_HOLD "EK4050" "A person holds the cluster, a bundle on it, or the repair of its drift"
        because "Somebody ran `evenkeel hold`; who, why and until when is in the message."
        => "When the reason is gone: `evenkeel release SELECTOR`. What came meanwhile is carried out then.";

    // 5xxx: the ledger and the state directory
    OBSERVED "EK4060" "The cluster is only observed, and a sync would write to it" => "`evenkeel diff CLUSTER` shows what; it is written once the agent runs with --mode sync.";
    NOT_COMPARED "EK4061" "A cluster did not answer a comparison in time"
        because "It is slow, or has very many objects, or the agent answers several such questions."
        => "Ask again; `evenkeel status` says whether the cluster can be reached.";

    STATE_DIR "EK5001" "The state directory cannot be used"
        because "The folder belongs to another user, is read-only, or its parent does not exist."
        => "Check its path, owner and mode; Evenkeel needs to write there.";
    STATE_LOCKED "EK5002" "Another agent uses the state directory" => "Stop the other agent, or give this one a --state-dir of its own.";
    LEDGER "EK5003" "The ledger cannot be read or written"
        because "A full or failing disk, or a file system that does not lock."
        => "Check the disk (full, read-only); no cluster is written until it works.";
    LEDGER_NEWER "EK5004" "The ledger was written by a newer Evenkeel" => "Run that version or a newer one; an older one would lose what it recorded.";
    NO_LEDGER "EK5005" "There is no ledger in the state directory" => "Give the agent's --state-dir; it exists once `evenkeel run` has started there.";
    NO_PLAN "EK5006" "Nothing with that hash waits for approval" => "`evenkeel status` shows the hashes of held deletions and of waves; they change when what would be done does. That of a wave is of the state directory too: where each `run --once` begins with an empty one, none can ever be approved.";
    DEFECT "EK5007" "A defect in Evenkeel" => "The rest goes on. Please report it with the log around this line.";

    REPORT_ONLY "EK5008" "The ledger was lost, and the agent only reports"
        because "The ledger was damaged, by a disk or by hand, and an empty one was begun in its place."
        => "Compare what is reported with what the clusters should run; `evenkeel resume` has them written again.";

    LEDGER_BROKEN "EK5010" "The ledger is not whole"
        because "A disk that loses or changes what was written, or rows that were changed by hand."
        => "Keep a copy of the state directory and report what is named. `evenkeel ledger export` saves what can be read; a file that SQLite cannot read is replaced when the agent starts.";
    LEDGER_IN_USE "EK5011" "The ledger cannot be compacted while a program uses it"
        because "The agent runs, or a command reads the ledger just now."
        => "Stop the agent, compact, and start it again. While it runs it removes what is too old by itself, daily, and uses the room anew.";
    LEDGER_NO_ROOM "EK5012" "The disk has no room to compact the ledger" => "Make room beside the ledger for a second file of the size named; nothing was changed.";
    STATUS_GIVEN_UP "EK5020" "The forge does not take a commit's status"
        because "The token may not write statuses there, the repository has another path, or the forge does not know the commit."
        => "Mend the token, --forge-repo or --forge-url; later commits are told then. What was given up stays as the forge shows it.";
    NOTICE_GIVEN_UP "EK5021" "A receiver does not take a notification"
        because "Its address was withdrawn, the channel is gone, or it wants another form."
        => "Mend the receiver's address; `evenkeel notify test RECEIVER` tries it.";
    NOTES "EK5022" "Git notes cannot be pushed"
        because "The agent's credentials may only read, the remote is away, or a rule of the forge protects refs/notes."
        => "Give credentials that may push refs/notes/evenkeel, or leave --git-notes out; what is missing is pushed later.";

    // 6xxx: the command line and its settings
    USAGE "EK6001" "Wrong use of a command" => "See `evenkeel help`.";
    SETTINGS "EK6002" "A setting is wrong" => "Mend the flag, the environment variable or the key of the settings file named.";
    SELECTOR "EK6003" "A selector is empty, or not a label selector"
        because "A variable in the command is not set; a typing mistake."
        => "Use Kubernetes label syntax, such as environment=prod,region!=eu; environment alone selects every cluster.";
    AGENT_GONE "EK6004" "The agent does not answer"
        because "The agent is stopped, or runs with another state directory."
        => "Is it running? Its log and `systemctl status evenkeel` say more.";
    NOT_ALLOWED "EK6005" "The caller may not do that" => "Run it as root, as the agent's user or as a member of its group.";
    NOT_OFFERED "EK6006" "A command or flag that this version does not have" => "See `evenkeel help` for what it has.";
    BUSY "EK6007" "The agent has no room for the request" => "Try again in a moment; its log says what it is busy with.";
    OUTPUT "EK6008" "The output cannot be written" => "Check the disk or the pipe that the output goes to.";
    NO_CODE "EK6009" "There is no such error code" => "Codes are EK and four digits, as in error[EK1001]; `evenkeel explain` lists them.";
    NO_OBJECT "EK6010" "No object of that name" => "`evenkeel render CLUSTER` prints the objects; an object is named kind[.group]/[namespace/]name.";
    IN_THE_WAY "EK6020" "Files are in the way" => "Give a new or empty folder, or move what is named; `evenkeel init` changes no file that is there.";
    NOT_THE_HOLDER "EK6021" "Another agent writes the cluster"
        because "Two agents follow the same fleet, and the one that was asked waits for its turn there: what it would do is not what happens."
        => "Ask the agent that has the cluster. Where that one is gone, this one takes over by itself: `evenkeel status` says when (EK4007).";
    NOT_HELD "EK6025" "Nothing there is held" => "`evenkeel status` shows what is held, and by which selector.";
    HOLD "EK6026" "There can be no such hold" => "Give a reason, a time that is still to come, such as 2h or 2030-01-31T06:00:00Z, and a bundle that there is.";
    NOT_PUSHED "EK6030" "The agent cannot get the commit that it is asked about"
        because "The commit is in the caller's clone alone, or in another repository than the agent follows."
        => "Push it to the remote that the agent follows (any branch, or a pull request's ref), and give its whole hash or the ref's name.";
    TOKENS "EK6040" "The file of tokens cannot be used"
        => "It is YAML: `tokens`, a list of name, role (viewer, planner, operator, approver), sha256 of the token, and environments where not all are meant.";
    TOKEN "EK6041" "The server needs a token, or another one"
        because "No token was given, it was taken out of the server's file, or it is shorter than 32 characters."
        => "Give the token in EVENKEEL_TOKEN, or the file that has it in --token-file.";
    SERVER_ADDRESS "EK6042" "The server's address cannot be used"
        because "It is no http or https address, or a token would go to another machine unencrypted."
        => "Give an address such as https://evenkeel.example.com:8480; a file with its certificate authority in --server-ca-file.";
    OUT_OF_SCOPE "EK6043" "The token is for other environments" => "Ask someone whose token is for them, or narrow the selector.";
    LISTEN "EK6044" "The agent cannot listen there"
        because "Another program has the port, or the address is not this machine's."
        => "Choose another address with --listen; 127.0.0.1:8480 is reached from this machine alone.";
    TLS_FILES "EK6045" "The certificate or its key cannot be used" => "Give PEM files that belong together; the server's own certificate comes first.";
    CROSS_SITE "EK6046" "The request came by a page of another site"
        because "A browser sent it for another page, or under a name that is not this machine's."
        => "Open the server by its own address; a proxy in front of a loopback address must send that as Host.";
    NOT_IN_TIME "EK6054" "The clusters were not there in time"
        => "`evenkeel status` says what each waits for; nothing was called off. Wait longer with --deadline.";
    WEBHOOK_SECRETS "EK6060" "The file of webhook secrets cannot be used"
        => "It is YAML: `webhooks`, a list of forge (github, gitlab, gitea, generic) and secret; only the agent and root may read it.";
    WEBHOOK_SIGNATURE "EK6061" "A webhook is not signed with a secret of the agent"
        because "The secret at the forge is another one, none is set there, a proxy changed the body, or somebody tries."
        => "Set the same secret at the forge and in the agent's file of webhook secrets.";
    WEBHOOK_BODY "EK6062" "A webhook cannot be understood"
        because "It was sent to the path of another forge, or is not what docs/WEBHOOKS.md says."
        => "Check the path (/hooks/github, /hooks/gitlab, /hooks/gitea, /hooks/generic) and that the content is JSON.";
    NO_WEBHOOKS "EK6063" "The agent takes no webhooks of that forge"
        => "Put a secret for the forge into the file that --webhook-secrets-file names.";
    FORGE "EK6064" "The forge cannot be told of commits"
        because "Where its API is does not follow from the repository's address, or the file with the token cannot be used."
        => "See --forge, --forge-url, --forge-repo and --forge-token-file in docs/FORGES.md.";
    RECEIVERS "EK6065" "The file of receivers cannot be used"
        => "It is YAML: `receivers`, a list of name, type (slack, webhook, alertmanager), url or urlFile, and secretFile; only the agent and root may read it.";
    NO_RECEIVER "EK6066" "There is no receiver of that name"
        because "A rule of spec.notifications names a receiver that the agent's file does not have."
        => "Add it to the file that --receivers-file names and start the agent again, or mend the rule.";
    NOTIFY_TEST "EK6067" "A receiver did not take the test message"
        => "Its own words are in the message; check its address and, of a webhook, its secret.";
}
