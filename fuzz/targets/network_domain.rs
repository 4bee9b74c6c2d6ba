#![no_main]

use sebring_types::DomainPattern;

// A pattern of the domain allow list: what is written out says the same, and means its own name.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let Ok(pattern) = text.parse::<DomainPattern>() else { return };
    let written = pattern.to_string();
    assert_eq!(written.parse(), Ok(pattern.clone()));
    let name = written.strip_prefix("*.").unwrap_or(&written);
    assert!(pattern.matches(name) && pattern.matches(&name.to_ascii_uppercase()));
    assert_eq!(pattern.matches(&format!("a.{name}")), written.starts_with("*."));
    assert!(!pattern.matches(&format!("a{name}")) && !pattern.matches(&format!("{name}-")));
});
