//! An agent begins on what one of an older schema has left: its services serve on, and everything goes on from there. The
//! stores in `tests/data/store` are one for each schema that there was: an agent that has another adds its own there.

use std::path::Path;
use std::process::Command;

use podkeeper::names::{Actor, CommitId, ServiceName};
use podkeeper::store::{DeploymentState, Desired, Store};

use super::hermetic::TestHost;
use super::hermetic::world::{Image, id_of};

/// The ports and the commit of these stores' releases.
const PORTS: [&str; 2] = ["31001", "31002"];
const COMMIT: &str = "1111111111111111111111111111111111111111";
const SECRET: &str = "podkeeper-blog-KEY-abcdefghijklmnop";

fn stores() -> Vec<(u32, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/store");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut stores: Vec<_> = files
        .map(|file| {
            let schema = file.file_stem().unwrap().to_str().unwrap().parse().unwrap();
            (schema, std::fs::read_to_string(file).unwrap())
        })
        .collect();
    stores.sort();
    stores
}

/// A host as such an agent left it: the second release of `blog` has the traffic.
async fn left_by(store: &str) -> (TestHost, CommitId) {
    let host = TestHost::without_agent(|_| {});
    let blog: ServiceName = "blog".parse().unwrap();
    let repository = host.repository(&blog);
    let mut init = Command::new("git");
    init.args(["init", "--quiet", "--bare", "--initial-branch=main", "--"]).arg(&repository);
    assert!(init.status().unwrap().success());
    let commit = host.commit(&blog, "");
    let first = host.config.services.first_port;
    let mut store = store.replace(COMMIT, commit.as_str());
    let quadlets = Path::new(host.config.paths.quadlets.as_str());
    for (number, port) in (1..).zip(PORTS) {
        let own = first + number - 1;
        store = store.replace(port, &own.to_string());
        let name = format!("localhost/podkeeper/blog:{number}");
        let image = Image { names: [name.clone()].into(), program: super::hermetic::program::Program::read("") };
        host.world().images.insert(id_of(&name), image);
        let live = quadlets.join(format!("blog@{number}.container.d"));
        std::fs::create_dir_all(&live).unwrap();
        let quadlet = format!(
            "[Container]\nContainerName=blog-{number}\nImage={name}\nPublishPort=127.0.0.2:{own}:8080\n\
             Secret={SECRET},type=env,target=KEY\nVolume=blog.data:/data\n"
        );
        std::fs::write(quadlets.join(format!("blog@{number}.container")), quadlet).unwrap();
        if number == 2 {
            std::fs::write(live.join("live.conf"), "[Install]\nWantedBy=default.target\n").unwrap();
            for host_name in ["blog.localhost", "blog.example.org"] {
                let routes = host.folder.path().join("routes").join(host_name);
                std::fs::create_dir_all(&routes).unwrap();
                std::fs::write(routes.join(own.to_string()), "").unwrap();
            }
        } else {
            std::fs::remove_dir(live).unwrap();
        }
    }
    host.world().secrets.insert(SECRET.to_owned(), "value".to_owned());
    host.world().volumes.insert("gone.data".to_owned());
    let file = host.config.paths.store();
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    rusqlite::Connection::open(file).unwrap().execute_batch(&store).unwrap();
    host.manager().boot().await;
    (host, commit)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_goes_on_from_a_store_of_each_schema() {
    let all = stores();
    let newest = tempfile::tempdir().unwrap();
    drop(Store::open(&newest.path().join("store.db")).unwrap());
    let newest = rusqlite::Connection::open(newest.path().join("store.db")).unwrap();
    let known: u32 = newest.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(all.iter().map(|(schema, _)| *schema).collect::<Vec<_>>(), (1..=known).collect::<Vec<_>>());
    for (schema, store) in all {
        let (mut host, commit) = left_by(&store).await;
        host.start_agent().await;
        let (blog, shop): (ServiceName, ServiceName) = ("blog".parse().unwrap(), "shop".parse().unwrap());
        host.in_order().await;
        assert_eq!(host.routed(&blog).await, [2], "schema {schema}");
        assert_eq!(host.service(&shop).await.desired, Desired::Stopped);
        let (last, service) = (host.newest(&blog).await, host.service(&blog).await);
        assert_eq!((last.id.0, last.state, last.commit), (3, DeploymentState::Failed, Some(commit)), "schema {schema}");
        assert_eq!((service.settings.keep, service.settings.memory_mib), (Some(3), Some(64)));
        let name = blog.clone();
        let env = host.ask(move |parts| async move { parts.services.read_env(&name).await }).await.unwrap();
        assert_eq!(env.keys().map(ToString::to_string).collect::<Vec<_>>(), ["KEY", "NOTHING"], "schema {schema}");
        // It goes back to what was released then, and on to what is pushed now.
        let name = blog.clone();
        let asked = host.ask(move |parts| async move { parts.deploys.rollback(&name, None, Actor::GitPassword).await });
        assert_eq!(host.ended(&asked.await.unwrap()).await.state, DeploymentState::Live, "schema {schema}");
        assert_eq!(host.deploy(&blog, "").await.release.unwrap().0, 4, "schema {schema}");
        host.in_order().await;
        let name = blog.clone();
        let removed =
            host.ask(move |parts| async move { parts.services.delete(&name, true, &Actor::GitPassword).await });
        removed.await.unwrap();
        host.in_order().await;
    }
}
