//! The `#[kafka(..)]` attributes, read and checked.
//!
//! Everything that can be wrong with an attribute is an error at its place here, so that the expansion can't fail.

use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Expr, Fields, Ident, LitInt, LitStr, Type};

/// Versions from the first to the last; `None` as the last means all later ones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: i16,
    pub(crate) last: Option<i16>,
}

impl Range {
    const ALL: Self = Self { first: 0, last: None };

    fn parse(text: &LitStr) -> syn::Result<Self> {
        let value = text.value();
        let number = |part: &str| part.parse::<i16>().map_err(|error| syn::Error::new(text.span(), error));
        let Some((first, last)) = value.split_once("..") else {
            let only = number(&value)?;
            return Ok(Self { first: only, last: Some(only) });
        };
        let first = if first.is_empty() { 0 } else { number(first)? };
        let last = match last.strip_prefix('=') {
            Some(last) => Some(number(last)?),
            None if last.is_empty() => None,
            None => return Err(syn::Error::new(text.span(), "expected \"4..\", \"4..=7\", \"..=7\" or \"4\"")),
        };
        Ok(Self { first, last })
    }
}

/// What a struct is.
pub(crate) enum Role {
    /// Part of other structs.
    Part,
    /// The request of an API.
    Request(Ident),
    /// The response of an API.
    Response(Ident),
    /// Data with versions of its own.
    Data { versions: Range, flexible: Option<Range> },
}

/// A field with its attributes.
pub(crate) struct MessageField {
    pub(crate) name: Ident,
    /// The type on the wire; what is inside of an `Option`.
    pub(crate) wire_type: Type,
    pub(crate) versions: Range,
    /// The versions in which it may be null; `None` when the type is no `Option`.
    pub(crate) nullable: Option<Range>,
    pub(crate) tag: Option<u32>,
    pub(crate) tagged: Range,
    pub(crate) default: Option<Expr>,
    pub(crate) strict: bool,
}

/// A struct with its attributes.
pub(crate) struct MessageStruct {
    pub(crate) name: Ident,
    pub(crate) role: Role,
    pub(crate) fields: Vec<MessageField>,
}

impl MessageStruct {
    pub(crate) fn parse(input: &DeriveInput) -> syn::Result<Self> {
        let Data::Struct(data) = &input.data else {
            return Err(syn::Error::new(input.span(), "a message is a struct with named fields"));
        };
        let Fields::Named(named) = &data.fields else {
            return Err(syn::Error::new(input.span(), "a message is a struct with named fields"));
        };
        let fields = named.named.iter().map(parse_field).collect::<syn::Result<_>>()?;
        Ok(Self { name: input.ident.clone(), role: parse_role(&input.attrs)?, fields })
    }
}

fn parse_role(attributes: &[Attribute]) -> syn::Result<Role> {
    let mut role = Role::Part;
    let mut flexible = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("kafka")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("request") {
                role = Role::Request(meta.value()?.parse()?);
            } else if meta.path.is_ident("response") {
                role = Role::Response(meta.value()?.parse()?);
            } else if meta.path.is_ident("versions") {
                role = Role::Data { versions: Range::parse(&meta.value()?.parse()?)?, flexible: None };
            } else if meta.path.is_ident("flexible") {
                flexible = Some(Range::parse(&meta.value()?.parse()?)?);
            } else {
                return Err(meta.error("expected request, response, versions or flexible"));
            }
            Ok(())
        })?;
    }
    match role {
        Role::Data { versions, .. } if versions.last.is_some() => Ok(Role::Data { versions, flexible }),
        Role::Data { .. } => Err(syn::Error::new(attributes[0].span(), "data needs a last version")),
        _ if flexible.is_some() => Err(syn::Error::new(attributes[0].span(), "an API's table says what is flexible")),
        role => Ok(role),
    }
}

fn parse_field(field: &syn::Field) -> syn::Result<MessageField> {
    let Some(name) = field.ident.clone() else {
        return Err(syn::Error::new(field.span(), "expected a named field"));
    };
    let (mut versions, mut nullable, mut tag, mut tagged) = (Range::ALL, None, None, None);
    let (mut default, mut strict) = (None, false);
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("kafka")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("versions") {
                versions = Range::parse(&meta.value()?.parse()?)?;
            } else if meta.path.is_ident("nullable") {
                nullable = Some(Range::parse(&meta.value()?.parse()?)?);
            } else if meta.path.is_ident("tag") {
                tag = Some(meta.value()?.parse::<LitInt>()?.base10_parse()?);
            } else if meta.path.is_ident("tagged") {
                tagged = Some(Range::parse(&meta.value()?.parse()?)?);
            } else if meta.path.is_ident("default") {
                default = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("strict") {
                strict = true;
            } else {
                return Err(meta.error("expected versions, nullable, tag, tagged, default or strict"));
            }
            Ok(())
        })?;
    }
    let inside = inside_of_option(&field.ty);
    if inside.is_none() && nullable.is_some() {
        return Err(syn::Error::new(field.ty.span(), "a nullable field is an Option"));
    }
    let nullable = inside.map(|_| nullable.unwrap_or(versions));
    let wire_type = inside.unwrap_or(&field.ty).clone();
    Ok(MessageField { name, wire_type, versions, nullable, tag, tagged: tagged.unwrap_or(versions), default, strict })
}

fn inside_of_option(field_type: &Type) -> Option<&Type> {
    let Type::Path(path) = field_type else { return None };
    let last = path.path.segments.last()?;
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        syn::GenericArgument::Type(inside) if last.ident == "Option" => Some(inside),
        _ => None,
    }
}
