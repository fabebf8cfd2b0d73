//! What tests need of a message: its schema as data, and values of every shape that a version allows.
//!
//! It is wrapped in a macro of `kennet_protocol` that is empty unless that crate is built for tests.

use proc_macro2::TokenStream;
use quote::quote;

use crate::attributes::{MessageField, MessageStruct, Range};
use crate::expand::{default_value, places};

pub(crate) fn implement(message: &MessageStruct) -> TokenStream {
    let (name, text) = (&message.name, message.name.to_string());
    let schemas = message.fields.iter().map(schema);
    let values = message.fields.iter().map(sample);
    quote! {
        ::kennet_protocol::for_tests! {
            impl ::kennet_protocol::testing::Described for #name {
                const STRUCT: ::core::option::Option<&'static ::kennet_protocol::testing::StructSchema> =
                    ::core::option::Option::Some(&::kennet_protocol::testing::StructSchema {
                        name: #text,
                        fields: &[#(#schemas),*],
                    });
                const TYPE: &'static str = #text;
            }

            impl ::kennet_protocol::testing::Sample for #name {
                #[allow(unused_variables, clippy::too_many_lines)]
                fn sample(
                    source: &mut ::kennet_protocol::testing::Source,
                    form: ::kennet_protocol::Form,
                ) -> Self {
                    Self { #(#values),* }
                }
            }
        }
    }
}

fn range(range: Range) -> TokenStream {
    let (first, last) = (range.first, range.last.unwrap_or(i16::MAX));
    quote! { (#first, #last) }
}

fn optional_range(value: Option<Range>) -> TokenStream {
    match value {
        Some(value) => {
            let value = range(value);
            quote! { ::core::option::Option::Some(#value) }
        }
        None => quote! { ::core::option::Option::None },
    }
}

fn schema(field: &MessageField) -> TokenStream {
    let (name, wire_type) = (field.name.to_string().replace("r#", ""), &field.wire_type);
    let (versions, nullable) = (range(field.versions), optional_range(field.nullable));
    let tag = match field.tag {
        Some(tag) => {
            let tagged = range(field.tagged);
            quote! { ::core::option::Option::Some((#tag, #tagged)) }
        }
        None => quote! { ::core::option::Option::None },
    };
    let (default, strict) = (default_value(field), field.strict);
    let field_type = match field.nullable {
        Some(_) => quote! { ::core::option::Option<#wire_type> },
        None => quote! { #wire_type },
    };
    quote! {
        ::kennet_protocol::testing::FieldSchema {
            name: #name,
            type_name: <#wire_type as ::kennet_protocol::testing::Described>::TYPE,
            element: <#wire_type as ::kennet_protocol::testing::Described>::STRUCT,
            is_array: <#wire_type as ::kennet_protocol::testing::Described>::IS_ARRAY,
            versions: #versions,
            nullable: #nullable,
            tag: #tag,
            default: || {
                let value: #field_type = #default;
                ::std::format!("{value:?}")
            },
            strict: #strict,
        }
    }
}

fn sample(field: &MessageField) -> TokenStream {
    let (name, wire_type, default) = (&field.name, &field.wire_type, default_value(field));
    let (ordered, tagged) = places(field);
    let value = quote! { <#wire_type as ::kennet_protocol::testing::Sample>::sample(source, form) };
    let value = match field.nullable {
        Some(nullable) => {
            let (first, last) = (nullable.first, nullable.last.unwrap_or(i16::MAX));
            quote! {
                if (#first..=#last).contains(&form.version) && source.chance(4) {
                    ::core::option::Option::None
                } else {
                    ::core::option::Option::Some(#value)
                }
            }
        }
        None => value,
    };
    quote! { #name: if (#ordered) || (#tagged) { #value } else { #default } }
}
