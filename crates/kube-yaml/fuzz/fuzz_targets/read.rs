//! What is read can be written and read again to the same value, and nothing panics.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for document in kube_yaml::parse(text).unwrap_or_default() {
        let value = document.root.to_json();
        let written = kube_yaml::emit(&value);
        let again = kube_yaml::parse(&written).expect("what was written can be read");
        assert_eq!(again.len(), 1, "{written}");
        assert_eq!(again[0].root.to_json(), value, "{written}");
    }
});
