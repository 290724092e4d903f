//! What is known of images that people run, by what their configuration says.

use crate::podman::ImageFacts;

/// Programs that are made to be a container's first process, by their files' names: they reap what others leave, pass
/// signals on, and some work as nothing else.
const INITS: [&str; 12] = [
    "tini",
    "tini-static",
    "dumb-init",
    "catatonit",
    "docker-init",
    "s6-svscan",
    "runsvdir",
    "runit-init",
    "my_init",
    "systemd",
    "init",
    "pid1",
];

/// Servers that lock the folder of their data, and what of their images' environments tells them.
const LOCKING: [(&str, &str); 6] = [
    ("PGDATA", "PostgreSQL"),
    ("MARIADB_VERSION", "MariaDB"),
    ("MYSQL_VERSION", "MySQL"),
    ("MYSQL_MAJOR", "MySQL"),
    ("MONGO_VERSION", "MongoDB"),
    ("MONGO_MAJOR", "MongoDB"),
];

/// Whether the image's first process is an init already.
pub(super) fn has_init(image: &ImageFacts) -> bool {
    let program = image.command.first().map_or("", String::as_str);
    INITS.contains(&program.rsplit('/').next().unwrap_or_default())
}

/// The server that the image is known to run, where two of it must never have the same volume.
pub(super) fn locking_server(image: &ImageFacts) -> Option<&'static str> {
    LOCKING.iter().find(|(key, _)| image.env.iter().any(|(known, _)| known == key)).map(|(_, server)| *server)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(command: &[&str], env: &[&str]) -> ImageFacts {
        let config = serde_json::json!({ "Id": "a".repeat(64), "Config": { "Entrypoint": command, "Env": env } });
        ImageFacts::read(config.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn an_init_of_the_images_own_is_seen() {
        for command in [&["/usr/bin/tini", "--", "x"][..], &["dumb-init", "x"], &["/init"], &["/lib/systemd/systemd"]] {
            assert!(has_init(&image(command, &[])), "{command:?}");
        }
        for command in [&[][..], &["httpd", "-f"], &["/bin/sh", "-c", "tini -- x"], &["/docker-entrypoint.sh", "init"]]
        {
            assert!(!has_init(&image(command, &[])), "{command:?}");
        }
    }

    #[test]
    fn servers_that_lock_their_data_are_known() {
        let of = |env: &[&str]| locking_server(&image(&[], env));
        assert_eq!(of(&["PATH=/bin", "PGDATA=/var/lib/postgresql/data"]), Some("PostgreSQL"));
        assert_eq!(of(&["MARIADB_VERSION=11"]), Some("MariaDB"));
        assert_eq!(of(&["MYSQL_MAJOR=8.4"]), Some("MySQL"));
        assert_eq!(of(&["MONGO_VERSION=8"]), Some("MongoDB"));
        assert_eq!(of(&["PG_HOST=db", "NODE_VERSION=22", "MYSQL_HOST=db"]), None);
    }
}
