//! Prints the schemas of all messages as JSON, for `tests/protocol/compare_schemas.py`.

#![expect(clippy::print_stdout, reason = "the output is what it is for")]

fn main() {
    println!("{}", kennet_protocol::testing::schemas_as_json());
}
