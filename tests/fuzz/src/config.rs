//! A configuration file and /etc/ethers, divided by a zero byte. What has no faults means the same
//! after `xblade show`; the faults of the others can be shown.

use xblade::config;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, ethers) = text.split_once('\0').unwrap_or((text, ""));
    let loaded = config::parse("x.toml", text, ethers);
    let told = loaded.faults.to_string();
    let is_forged = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    assert!(!told.contains(is_forged), "a control character is printed: {told:?}");
    let Ok(serve) = loaded.complete() else { return };
    let Ok(shown) = config::to_toml(&serve) else { return };
    let again = config::parse("shown", &shown, "");
    assert!(again.faults.is_empty(), "{shown}\n{}", again.faults);
    assert_eq!(again.serve, serve, "{shown}");
}
