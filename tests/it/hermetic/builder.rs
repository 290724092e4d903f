//! What runs in transient units: builds, and what clears away behind them.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::manager::{Manager, moment};
use super::program::{BuildEnd, Program};
use super::release::Ended;
use super::world::{Image, id_of};

/// Runs a program in a unit, and tells what the unit's job comes to. A build's job ends as it begins, all others' as they
/// end.
pub async fn run(manager: &Manager, unit: &str, argv: Vec<String>) -> String {
    if unit.starts_with("build-") {
        let plan: Value = serde_json::from_slice(&std::fs::read(argv.last().unwrap()).unwrap()).unwrap();
        manager.set(unit, |unit| (unit.active, unit.sub) = ("active", "running")).await;
        let (this, name) = (manager.clone(), unit.to_owned());
        manager.set_life(unit, async move { build(&this, &name, &plan).await });
        return "done".into();
    }
    if let Some(at) = argv.iter().position(|word| word == "rm") {
        let paths = argv[at..].iter().skip_while(|word| *word != "--").skip(1);
        for path in paths {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    if let Some(into) = argv.iter().find_map(|word| word.strip_prefix("--into=")) {
        std::fs::write(into, json!({ "caches": {}, "repositories": 0 }).to_string()).unwrap();
    }
    "done".into()
}

async fn build(manager: &Manager, unit: &str, plan: &Value) {
    let text = |key: &str| plan[key].as_str().unwrap_or_default().to_owned();
    let context = text("context");
    // As the sandbox does, which removes them at its end.
    for folder in ["temporary", "out"] {
        std::fs::create_dir_all(text(folder)).unwrap();
    }
    moment().await;
    let instructions = plan["instructions"]["File"].as_str().unwrap_or("Containerfile");
    let file = std::fs::read_to_string(Path::new(&context).join(instructions)).unwrap_or_default();
    let port = plan["port"].as_u64().and_then(|port| port.try_into().ok());
    let program = Program { port, ..Program::read(&file) };
    let id = id_of(&format!("{} {} {file}", text("service"), text("commit")));
    match program.build {
        BuildEnd::Never => std::future::pending().await,
        BuildEnd::Status(status) => return manager.fail(unit, Ended::status(status)).await,
        BuildEnd::Timeout => return manager.fail(unit, Ended::TIMEOUT).await,
        BuildEnd::NoImage => {}
        BuildEnd::Image => {
            let image = Image { names: BTreeSet::new(), program };
            manager.world().images.entry(id.clone()).or_insert(image);
        }
    }
    std::fs::write(text("image"), id).unwrap();
    for folder in ["temporary", "out", "given"] {
        std::fs::remove_dir_all(text(folder)).unwrap();
    }
    manager.set(unit, |unit| (unit.active, unit.sub) = ("active", "exited")).await;
}
