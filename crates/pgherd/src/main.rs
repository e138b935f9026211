//! The `pgherd` binary.
fn main() {
    let env = pgherd::config::environment::Environment::of_process();
    match pgherd::config::file::load(Some(std::path::Path::new(&std::env::args().nth(1).unwrap())), &env) {
        Ok(l) => println!("{:#?}\n{}", l.settings.nodes, l.report.render()),
        Err(r) => println!("{}", r.render()),
    }
}
