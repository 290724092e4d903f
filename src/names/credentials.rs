//! The rows of what signs somebody in. Each is counted on its own, so that one is nothing in the place of another.

use super::text::number_name;

number_name! {
    /// An API token's row.
    TokenId(i64)
}
number_name! {
    /// A passkey's row.
    PasskeyId(i64)
}
number_name! {
    /// A signed-in browser's row.
    SignInId(i64)
}
number_name! {
    /// An enrolment link's row.
    LinkId(i64)
}
