//! The code behind `#[derive(Message)]`.
//!
//! Fields are written and read in the order of the struct, tagged ones after them in the order of their tags; a field
//! that a version lacks costs one comparison.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::DeriveInput;

use crate::attributes::{MessageField, MessageStruct, Range, Role};
use crate::samples;

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let message = MessageStruct::parse(input)?;
    let default = implement_default(&message);
    let field = implement_field(&message);
    let role = implement_role(&message)?;
    let samples = samples::implement(&message);
    Ok(quote! { #default #field #role #samples })
}

/// `form.version` is in the range.
fn contains(range: Range) -> TokenStream {
    let first = range.first;
    match range.last {
        Some(last) if last == first => quote! { form.version == #first },
        Some(last) => quote! { (form.version >= #first && form.version <= #last) },
        None if first == 0 => quote! { true },
        None => quote! { form.version >= #first },
    }
}

pub(crate) fn default_value(field: &MessageField) -> TokenStream {
    let wire_type = &field.wire_type;
    match (&field.default, field.nullable) {
        (Some(default), _) => quote! { #default },
        (None, Some(_)) => quote! { ::core::option::Option::None::<#wire_type> },
        (None, None) => quote! { <#wire_type as ::core::default::Default>::default() },
    }
}

/// When the field is among the ordered ones, and when among the tagged ones.
pub(crate) fn places(field: &MessageField) -> (TokenStream, TokenStream) {
    let present = contains(field.versions);
    if field.tag.is_none() {
        return (present, quote! { false });
    }
    let tagged = contains(field.tagged);
    (quote! { #present && !(form.flexible && #tagged) }, quote! { #present && #tagged })
}

fn label(message: &MessageStruct, field: &MessageField) -> String {
    format!("{}.{}", message.name, field.name).replace("r#", "")
}

fn implement_default(message: &MessageStruct) -> TokenStream {
    let name = &message.name;
    let values = message.fields.iter().map(|field| {
        let (field_name, value) = (&field.name, default_value(field));
        quote! { #field_name: #value }
    });
    quote! {
        impl ::core::default::Default for #name {
            fn default() -> Self {
                Self { #(#values),* }
            }
        }
    }
}

fn implement_field(message: &MessageStruct) -> TokenStream {
    let name = &message.name;
    let (size_min, write, read) = (size_min(message), write(message), read(message));
    quote! {
        impl ::kennet_protocol::Field for #name {
            #[allow(unused_variables)]
            fn size_min(form: ::kennet_protocol::Form) -> usize {
                #size_min
            }

            #[allow(unused_variables, clippy::too_many_lines)]
            fn write(
                &self,
                out: &mut ::kennet_protocol::Encoder,
                form: ::kennet_protocol::Form,
            ) -> ::core::result::Result<(), ::kennet_protocol::EncodeError> {
                #write
            }

            #[allow(unused_variables, clippy::too_many_lines)]
            fn read(
                input: &mut ::kennet_protocol::Decoder,
                form: ::kennet_protocol::Form,
            ) -> ::core::result::Result<Self, ::kennet_protocol::DecodeError> {
                #read
            }
        }

        impl ::kennet_protocol::NullableField for #name {}
    }
}

fn size_min(message: &MessageStruct) -> TokenStream {
    let sizes = message.fields.iter().map(|field| {
        let ((ordered, _), wire_type) = (places(field), &field.wire_type);
        // a nullable struct may be one byte; what else may be null has that in its own smallest size
        let size = match field.nullable {
            Some(_) => quote! { ::core::cmp::min(1, <#wire_type as ::kennet_protocol::Field>::size_min(form)) },
            None => quote! { <#wire_type as ::kennet_protocol::Field>::size_min(form) },
        };
        quote! { if #ordered { size += #size; } }
    });
    quote! {
        let mut size = usize::from(form.flexible);
        #(#sizes)*
        size
    }
}

fn write_value(field: &MessageField) -> TokenStream {
    let (name, wire_type) = (&field.name, &field.wire_type);
    let Some(nullable) = field.nullable else {
        return quote! { ::kennet_protocol::Field::write(&self.#name, out, form)?; };
    };
    let nullable = contains(nullable);
    quote! {
        if #nullable {
            <#wire_type as ::kennet_protocol::NullableField>::write_nullable(self.#name.as_ref(), out, form)?;
        } else {
            let ::core::option::Option::Some(value) = &self.#name else {
                return ::core::result::Result::Err(out.null_error(form));
            };
            ::kennet_protocol::Field::write(value, out, form)?;
        }
    }
}

fn write(message: &MessageStruct) -> TokenStream {
    let ordered = message.fields.iter().map(|field| {
        let ((ordered, tagged), label, value) = (places(field), label(message, field), write_value(field));
        let (name, default) = (&field.name, default_value(field));
        let otherwise = field.strict.then(|| {
            quote! {
                else if !(#tagged) && self.#name != #default {
                    out.set_field(#label);
                    return ::core::result::Result::Err(out.missing_error(form));
                }
            }
        });
        quote! {
            if #ordered {
                out.set_field(#label);
                #value
            } #otherwise
        }
    });
    let tags = write_tags(message);
    quote! {
        #(#ordered)*
        if form.flexible {
            #tags
        }
        ::core::result::Result::Ok(())
    }
}

fn by_tag(message: &MessageStruct) -> Vec<(u32, &MessageField)> {
    let mut fields: Vec<_> = message.fields.iter().filter_map(|field| Some((field.tag?, field))).collect();
    fields.sort_by_key(|(tag, _)| *tag);
    fields
}

fn write_tags(message: &MessageStruct) -> TokenStream {
    let fields = by_tag(message);
    if fields.is_empty() {
        return quote! { out.unsigned_varint(0); };
    }
    let (mut present, mut writes) = (Vec::new(), Vec::new());
    for (tag, field) in fields {
        let ((_, tagged), label, value) = (places(field), label(message, field), write_value(field));
        let (name, default, set) = (&field.name, default_value(field), format_ident!("has_{}", field.name));
        present.push(quote! {
            let #set = #tagged && self.#name != #default;
            count += u32::from(#set);
        });
        writes.push(quote! {
            if #set {
                out.set_field(#label);
                out.tagged_field(#tag, |out| {
                    #value
                    ::core::result::Result::Ok(())
                })?;
            }
        });
    }
    quote! {
        let mut count = 0_u32;
        #(#present)*
        out.unsigned_varint(count);
        #(#writes)*
    }
}

fn read_value(field: &MessageField) -> TokenStream {
    let wire_type = &field.wire_type;
    let Some(nullable) = field.nullable else {
        return quote! { <#wire_type as ::kennet_protocol::Field>::read(input, form)? };
    };
    let nullable = contains(nullable);
    quote! {
        if #nullable {
            <#wire_type as ::kennet_protocol::NullableField>::read_nullable(input, form)?
        } else {
            ::core::option::Option::Some(<#wire_type as ::kennet_protocol::Field>::read(input, form)?)
        }
    }
}

fn read(message: &MessageStruct) -> TokenStream {
    let names: Vec<_> = message.fields.iter().map(|field| &field.name).collect();
    let ordered = message.fields.iter().map(|field| {
        let ((ordered, _), label, value) = (places(field), label(message, field), read_value(field));
        let (name, default) = (&field.name, default_value(field));
        let mutable = field.tag.map(|_| quote! { mut });
        quote! {
            let #mutable #name = if #ordered {
                input.set_field(#label);
                #value
            } else {
                #default
            };
        }
    });
    let arms = by_tag(message).into_iter().map(|(tag, field)| {
        let ((_, tagged), label, value) = (places(field), label(message, field), read_value(field));
        let name = &field.name;
        quote! {
            #tag if #tagged => {
                input.set_field(#label);
                #name = #value;
                ::core::result::Result::Ok(true)
            }
        }
    });
    quote! {
        #(#ordered)*
        if form.flexible {
            input.tagged_fields(|input, tag| match tag {
                #(#arms)*
                _ => ::core::result::Result::Ok(false),
            })?;
        }
        ::core::result::Result::Ok(Self { #(#names),* })
    }
}

fn implement_role(message: &MessageStruct) -> syn::Result<TokenStream> {
    let (name, text) = (&message.name, message.name.to_string());
    let (versions, request) = match &message.role {
        Role::Part => return Ok(TokenStream::new()),
        Role::Response(key) => (quote! { ::kennet_protocol::ApiKey::#key.message_versions() }, None),
        Role::Request(key) => {
            let Some(prefix) = text.strip_suffix("Request") else {
                return Err(syn::Error::new(name.span(), "a request's name ends with Request"));
            };
            let response = format_ident!("{prefix}Response");
            let request = quote! {
                impl ::kennet_protocol::Request for #name {
                    const KEY: ::kennet_protocol::ApiKey = ::kennet_protocol::ApiKey::#key;
                    type Response = #response;
                }
            };
            (quote! { ::kennet_protocol::ApiKey::#key.message_versions() }, Some(request))
        }
        Role::Data { versions, flexible } => {
            let (min, max) = (versions.first, versions.last);
            let flexible_from = match flexible {
                Some(Range { first, .. }) => quote! { ::core::option::Option::Some(#first) },
                None => quote! { ::core::option::Option::None },
            };
            (quote! { ::kennet_protocol::Versions { min: #min, max: #max, flexible_from: #flexible_from } }, None)
        }
    };
    Ok(quote! {
        impl ::kennet_protocol::Message for #name {
            const NAME: &'static str = #text;
            const VERSIONS: ::kennet_protocol::Versions = #versions;

            fn encode(
                &self,
                out: &mut ::kennet_protocol::Encoder,
                version: i16,
            ) -> ::core::result::Result<(), ::kennet_protocol::EncodeError> {
                ::kennet_protocol::check_encode(Self::NAME, Self::VERSIONS, version)?;
                let flexible = Self::VERSIONS.is_flexible(version);
                ::kennet_protocol::Field::write(self, out, ::kennet_protocol::Form { version, flexible })
            }

            fn decode(
                input: &mut ::kennet_protocol::Decoder,
                version: i16,
            ) -> ::core::result::Result<Self, ::kennet_protocol::DecodeError> {
                ::kennet_protocol::check_decode(Self::NAME, Self::VERSIONS, version, input)?;
                let flexible = Self::VERSIONS.is_flexible(version);
                ::kennet_protocol::Field::read(input, ::kennet_protocol::Form { version, flexible })
            }
        }
        #request
    })
}
