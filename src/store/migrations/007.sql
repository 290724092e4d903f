-- Networks from which the git password was shown.
CREATE TABLE git_password_places (
    network TEXT    PRIMARY KEY,
    seen    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
