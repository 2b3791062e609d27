//! In which order kinds are written: what others need first, what can refuse others last.

use crate::manifest::ObjectId;

/// When an object is written within its sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Namespaces and CustomResourceDefinitions: others cannot even be dry-run without them.
    Definitions,
    /// Everything else.
    Main,
    /// What calls or judges other writes: webhooks, aggregated APIs, admission policies. Last, so that a commit that
    /// brings a webhook and its Deployment does not block itself.
    Interceptors,
}

/// The stage in which this object is written. Pruning goes the other way round.
pub fn stage(id: &ObjectId) -> Stage {
    match (id.group.as_str(), id.kind.as_str()) {
        ("", "Namespace") | ("apiextensions.k8s.io", "CustomResourceDefinition") => Stage::Definitions,
        ("admissionregistration.k8s.io", _) | ("apiregistration.k8s.io", "APIService") => Stage::Interceptors,
        _ => Stage::Main,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_come_first_and_interceptors_last() {
        let stage_of = |id: &str| stage(&id.parse().expect("an object id"));
        assert_eq!(stage_of("Namespace/shop"), Stage::Definitions);
        assert_eq!(stage_of("CustomResourceDefinition.apiextensions.k8s.io/a.b"), Stage::Definitions);
        assert_eq!(stage_of("Deployment.apps/shop/web"), Stage::Main);
        assert_eq!(stage_of("Namespace.other.io/x"), Stage::Main, "the group counts");
        assert_eq!(stage_of("ValidatingWebhookConfiguration.admissionregistration.k8s.io/x"), Stage::Interceptors);
        assert_eq!(stage_of("ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io/x"), Stage::Interceptors);
        assert_eq!(stage_of("APIService.apiregistration.k8s.io/v1.x"), Stage::Interceptors);
        assert!(Stage::Definitions < Stage::Main && Stage::Main < Stage::Interceptors);
    }
}
