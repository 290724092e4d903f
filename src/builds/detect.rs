//! What a repository without a Containerfile is built by: a recipe that fits its files. The recipe is printed into the
//! build's log, so that it can be committed and changed.

use std::path::Path;

/// A recipe that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    /// What it is called.
    pub name: &'static str,
    /// Its Containerfile.
    pub containerfile: &'static str,
}

/// A recipe and the files that it asks for.
struct Rule {
    recipe: Recipe,
    /// All of these must be there.
    files: &'static [&'static str],
}

macro_rules! rule {
    ($name:literal, $file:literal, $($needed:literal),+) => {
        Rule {
            recipe: Recipe { name: $name, containerfile: include_str!(concat!("recipes/", $file, ".Containerfile")) },
            files: &[$($needed),+],
        }
    };
}

/// The first that fits is taken, so what is particular comes before what is general: a Node project may well have an
/// index.html.
const RULES: &[Rule] = &[
    rule!("Go", "go", "go.mod"),
    rule!("Rust", "rust", "Cargo.toml"),
    rule!("Node, with a lock file", "node-lock", "package.json", "package-lock.json"),
    rule!("Node", "node", "package.json"),
    rule!("PHP, with Composer", "php-composer", "composer.json"),
    rule!("PHP", "php", "index.php"),
    rule!("Ruby", "ruby", "Gemfile", "config.ru"),
    rule!("Python, with requirements", "python-requirements", "requirements.txt", "app.py"),
    rule!("Python, with requirements", "python-requirements-main", "requirements.txt", "main.py"),
    rule!("Python", "python", "app.py"),
    rule!("Python", "python-main", "main.py"),
    rule!("static site", "static-public", "public/index.html"),
    rule!("static site", "static", "index.html"),
];

/// The recipe for a repository, where `has` tells whether it has a file.
pub fn detect(has: impl Fn(&str) -> bool) -> Option<Recipe> {
    RULES.iter().find(|rule| rule.files.iter().all(|file| has(file))).map(|rule| rule.recipe)
}

/// The same for the files below `folder`. A link doesn't count as a file: it may lead out of the repository.
#[must_use]
pub fn detect_in(folder: &Path) -> Option<Recipe> {
    detect(|file| std::fs::symlink_metadata(folder.join(file)).is_ok_and(|metadata| metadata.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_their_recipe() {
        let cases: &[(&[&str], Option<&str>)] = &[
            (&["go.mod", "main.go"], Some("Go")),
            (&["Cargo.toml", "src/main.rs"], Some("Rust")),
            (&["package.json", "package-lock.json", "index.html"], Some("Node, with a lock file")),
            (&["package.json", "server.js"], Some("Node")),
            (&["composer.json", "index.php"], Some("PHP, with Composer")),
            (&["index.php"], Some("PHP")),
            (&["Gemfile", "config.ru"], Some("Ruby")),
            (&["requirements.txt", "app.py"], Some("Python, with requirements")),
            (&["app.py"], Some("Python")),
            (&["main.py"], Some("Python")),
            (&["public/index.html"], Some("static site")),
            (&["index.html"], Some("static site")),
            (&["README.md"], None),
            (&[], None),
        ];
        for (files, wanted) in cases {
            assert_eq!(detect(|file| files.contains(&file)).map(|recipe| recipe.name), *wanted, "{files:?}");
        }
    }

    #[test]
    fn every_recipe_names_its_image_in_full_and_listens_on_8080() {
        for rule in RULES {
            let text = rule.recipe.containerfile;
            assert!(text.lines().any(|line| line.starts_with("FROM docker.io/library/")), "{}", rule.recipe.name);
            assert!(text.contains("EXPOSE 8080"), "{}", rule.recipe.name);
        }
    }
}
