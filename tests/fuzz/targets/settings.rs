//! The settings file: any text is either usable, or refused with reasons that can be shown.

use pgherd::config::environment::Environment;
use pgherd::config::file::load_text;

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let read = || load_text("fuzz.toml", &text, &Environment::default());
    match read() {
        Ok(loaded) => {
            assert!(loaded.report.usable(), "settings with errors were accepted");
            let again = read().expect("the same text is usable twice");
            assert_eq!(again.report.render(), loaded.report.render());
        }
        Err(report) => {
            assert!(!report.usable() && !report.render().is_empty(), "refused without a reason");
        }
    }
}
