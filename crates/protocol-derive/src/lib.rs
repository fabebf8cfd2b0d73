//! `#[derive(Message)]`: from a struct with versions on its fields to Kafka's encoding of it.
//!
//! The attributes are described at the top of `kennet_protocol`. A struct gets `Default` (the schema's defaults),
//! `Field` and `NullableField`; one that is a call or data of its own also gets `Message`, and a request `Request`. In
//! that crate's own tests it also describes itself and generates sample values.

mod attributes;
mod expand;
mod samples;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// See the top of `kennet_protocol`.
#[proc_macro_derive(Message, attributes(kafka))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
