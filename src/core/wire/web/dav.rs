//! The XML of WebDAV (RFC 4918): what requests ask, understood; what they are answered, written.
//!
//! A document type is refused, and with it every entity but the five of XML itself. What a program gives
//! as a property is kept as it was meant, not as it was written: each element with its own namespace.

use std::fmt::Write;

use roxmltree::{Document, Node, ParsingOptions};

use crate::core::error::{Error, Result};
use crate::core::wire::journal::{PROPERTIES_MAX, Property};

/// The longest body with XML that is read, in bytes.
pub const XML_BYTES_MAX: usize = 64 << 10;

/// The most elements and texts in it.
const NODES_MAX: u32 = 4_000;

/// The most elements within each other in a property.
const DEPTH_MAX: usize = 32;

/// The namespace of WebDAV itself.
pub const DAV: &str = "DAV:";

/// The first line of every answer.
pub const HEAD: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";

/// The name of a property: its namespace and what it is called in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Name {
    /// Empty for none.
    pub namespace: String,
    /// Without a prefix.
    pub local: String,
}

impl Name {
    /// One of WebDAV's own.
    pub fn dav(local: &str) -> Name {
        Name { namespace: DAV.into(), local: local.into() }
    }

    /// As it is kept: `{DAV:}displayname`.
    pub fn kept(&self) -> String {
        format!("{{{}}}{}", self.namespace, self.local)
    }

    /// Reads what was kept.
    pub fn of_kept(text: &str) -> Option<Name> {
        // A local name has no brace.
        let (namespace, local) = text.strip_prefix('{')?.rsplit_once('}')?;
        Some(Name { namespace: namespace.into(), local: local.into() })
    }

    fn of(node: Node<'_, '_>) -> Name {
        let name = node.tag_name();
        Name { namespace: name.namespace().unwrap_or_default().into(), local: name.name().into() }
    }

    /// An element of this name without content.
    pub fn empty(&self) -> String {
        if self.namespace == DAV {
            return format!("<D:{}/>", self.local);
        }
        format!("<{} xmlns=\"{}\"/>", self.local, escaped(&self.namespace))
    }
}

/// What a `PROPFIND` asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// The usual properties and all that programs have given, and these.
    All(Vec<Name>),
    /// The names of those that there are.
    Names,
    /// These.
    Some(Vec<Name>),
}

/// Reads the body of a `PROPFIND`; an empty one asks for all.
///
/// # Errors
/// [`Error::Protocol`] if it is none.
pub fn propfind(body: &[u8]) -> Result<Wanted> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Wanted::All(Vec::new()));
    }
    let document = parse(text(body)?)?;
    let root = root(&document, "propfind")?;
    let names = |node: Node<'_, '_>| elements(node).map(Name::of).collect::<Vec<_>>();
    let mut wanted = None;
    let mut more = Vec::new();
    for node in elements(root) {
        let found = match own_name(node) {
            Some("prop") => Wanted::Some(names(node)),
            Some("propname") => Wanted::Names,
            Some("allprop") => Wanted::All(Vec::new()),
            Some("include") => {
                more.extend(names(node));
                continue;
            }
            _ => continue,
        };
        if wanted.replace(found).is_some() {
            return Err(malformed("asks for two things"));
        }
    }
    match wanted {
        Some(Wanted::All(_)) => Ok(Wanted::All(more)),
        Some(_) if !more.is_empty() => Err(malformed("includes something in nothing")),
        Some(wanted) => Ok(wanted),
        None => Err(malformed("asks for nothing")),
    }
}

/// Reads the body of a `PROPPATCH`: what is to be set and removed, in order.
///
/// # Errors
/// [`Error::Protocol`] if it is none, or is too deep or too much.
pub fn proppatch(body: &[u8]) -> Result<Vec<(Name, Property)>> {
    let document = parse(text(body)?)?;
    let root = root(&document, "propertyupdate")?;
    let mut patches = Vec::new();
    for action in elements(root) {
        let is_set = match own_name(action) {
            Some("set") => true,
            Some("remove") => false,
            _ => continue,
        };
        let props = elements(action).filter(|node| own_name(*node) == Some("prop"));
        for node in props.flat_map(elements) {
            let name = Name::of(node);
            let value = is_set.then(|| element(node)).transpose()?;
            let kept = name.kept();
            patches.push((name, Property { name: kept, value }));
            if patches.len() > PROPERTIES_MAX {
                return Err(malformed("names too many properties"));
            }
        }
    }
    match patches.is_empty() {
        true => Err(malformed("changes nothing")),
        false => Ok(patches),
    }
}

/// What a `LOCK` asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LockWanted {
    /// May nobody else have one meanwhile?
    pub is_exclusive: bool,
    /// What the program says of who it is: an element `owner`, or nothing.
    pub owner: String,
}

/// Reads the body of a `LOCK`; `None` for an empty one, which goes on with a lock.
///
/// # Errors
/// [`Error::Protocol`] if it is none.
pub fn lock(body: &[u8]) -> Result<Option<LockWanted>> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let document = parse(text(body)?)?;
    let root = root(&document, "lockinfo")?;
    let child = |name| elements(root).find(|node| own_name(*node) == Some(name));
    let inner = |name| child(name).and_then(|node| elements(node).find_map(own_name));
    let is_exclusive = match inner("lockscope") {
        Some("exclusive") => true,
        Some("shared") => false,
        _ => return Err(malformed("asks for no lock that there is")),
    };
    if inner("locktype") != Some("write") {
        return Err(malformed("asks for no lock that there is"));
    }
    let owner = child("owner").map(element).transpose()?.unwrap_or_default();
    Ok(Some(LockWanted { is_exclusive, owner }))
}

fn malformed(what: &str) -> Error {
    Error::Protocol(format!("the XML of the request {what}"))
}

fn text(body: &[u8]) -> Result<&str> {
    std::str::from_utf8(body).map_err(|_| malformed("is not UTF-8"))
}

fn parse(text: &str) -> Result<Document<'_>> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..Default::default() };
    if text.len() > XML_BYTES_MAX {
        return Err(malformed("is too long"));
    }
    let document = Document::parse_with_options(text, options);
    let document = document.map_err(|_| malformed("is not well-formed"))?;
    // The parser lets it pass that a prefix stands for nothing.
    let mut namespaces = document.descendants().flat_map(|node| node.namespaces());
    match namespaces.any(|own| own.name().is_some() && own.uri().is_empty()) {
        true => Err(malformed("has a prefix without a namespace")),
        false => Ok(document),
    }
}

fn root<'a, 'i>(document: &'a Document<'i>, name: &str) -> Result<Node<'a, 'i>> {
    let root = document.root_element();
    match own_name(root) == Some(name) {
        true => Ok(root),
        false => Err(malformed("is about something else")),
    }
}

fn elements<'a, 'i>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(Node::is_element)
}

/// The name of an element of WebDAV's own.
fn own_name<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    (node.tag_name().namespace() == Some(DAV)).then(|| node.tag_name().name())
}

/// An element with all that is in it, which needs nothing of what was around it.
fn element(node: Node<'_, '_>) -> Result<String> {
    let mut out = String::new();
    write_element(node, None, DEPTH_MAX, &mut out)?;
    Ok(out)
}

fn write_element(
    node: Node<'_, '_>,
    around: Option<&str>,
    depth: usize,
    out: &mut String,
) -> Result<()> {
    const XML: &str = "http://www.w3.org/XML/1998/namespace";
    if depth == 0 {
        return Err(malformed("is too deep"));
    }
    let name = node.tag_name();
    let namespace = name.namespace().unwrap_or_default();
    out.push('<');
    out.push_str(name.name());
    if around != Some(namespace) {
        out.push_str(&format!(" xmlns=\"{}\"", escaped(namespace)));
    }
    for (at, attribute) in node.attributes().enumerate() {
        let (name, value) = (attribute.name(), escaped(attribute.value()));
        out.push_str(&match attribute.namespace() {
            None => format!(" {name}=\"{value}\""),
            Some(XML) => format!(" xml:{name}=\"{value}\""),
            Some(own) => format!(" xmlns:a{at}=\"{}\" a{at}:{name}=\"{value}\"", escaped(own)),
        });
    }
    if !node.has_children() {
        out.push_str("/>");
        return Ok(());
    }
    out.push('>');
    for child in node.children() {
        if child.is_element() {
            write_element(child, Some(namespace), depth - 1, out)?;
        } else if child.is_text() {
            out.push_str(&escaped(child.text().unwrap_or_default()));
        }
    }
    out.push_str(&format!("</{}>", name.name()));
    Ok(())
}

/// A text as XML has it. What no document of XML may have is left out.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\t' | '\n' => out.push(c),
            c if c.is_control() && c < ' ' => {}
            '\u{fffe}' | '\u{ffff}' => {}
            c => out.push(c),
        }
    }
    out
}

/// The beginning of an answer about several things.
pub fn multistatus_begin() -> String {
    format!("{HEAD}<D:multistatus xmlns:D=\"DAV:\">\n")
}

/// Its end.
pub const MULTISTATUS_END: &str = "</D:multistatus>\n";

/// Properties that were found, or set, and those that were not, each group under its status.
pub fn response(href: &str, groups: &[(&str, Vec<String>)]) -> String {
    let mut out = format!("<D:response><D:href>{}</D:href>", escaped(href));
    for (status, properties) in groups {
        if !properties.is_empty() {
            // A string takes everything.
            let _ = write!(
                out,
                "<D:propstat><D:prop>{}</D:prop><D:status>HTTP/1.1 {status}</D:status></D:propstat>",
                properties.concat()
            );
        }
    }
    if groups.iter().all(|(_, properties)| properties.is_empty()) {
        out.push_str("<D:propstat><D:prop/><D:status>HTTP/1.1 200 OK</D:status></D:propstat>");
    }
    out.push_str("</D:response>\n");
    out
}

/// Why a request was not done, in words of WebDAV.
pub fn error(condition: &str, inner: &str) -> String {
    format!("{HEAD}<D:error xmlns:D=\"DAV:\"><D:{condition}>{inner}</D:{condition}></D:error>\n")
}

/// A lock as programs are told of it.
#[derive(Clone, Copy, Debug)]
pub struct LockTold<'a> {
    /// As it was asked for.
    pub wanted: &'a LockWanted,
    /// Does it hold for what is in the folder as well?
    pub is_deep: bool,
    /// How many seconds it has left.
    pub seconds: u64,
    /// What stands for it.
    pub token: &'a str,
    /// Where its program sees what is locked.
    pub root: &'a str,
}

/// The value of `lockdiscovery`.
pub fn lock_discovery(locks: &[LockTold<'_>]) -> String {
    let mut out = "<D:lockdiscovery>".to_owned();
    for LockTold { wanted, is_deep, seconds, token, root } in locks {
        let scope = if wanted.is_exclusive { "exclusive" } else { "shared" };
        let depth = if *is_deep { "infinity" } else { "0" };
        let _ = write!(
            out,
            "<D:activelock><D:locktype><D:write/></D:locktype><D:lockscope><D:{scope}/></D:lockscope>\
             <D:depth>{depth}</D:depth>{}<D:timeout>Second-{seconds}</D:timeout>\
             <D:locktoken><D:href>{}</D:href></D:locktoken>\
             <D:lockroot><D:href>{}</D:href></D:lockroot></D:activelock>",
            wanted.owner,
            escaped(token),
            escaped(root)
        );
    }
    out.push_str("</D:lockdiscovery>");
    out
}

/// The value of `supportedlock`.
pub const SUPPORTED_LOCK: &str = "<D:supportedlock>\
    <D:lockentry><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>\
    <D:lockentry><D:lockscope><D:shared/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>\
    </D:supportedlock>";

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[(&str, &str)]) -> Vec<Name> {
        let name = |(namespace, local): &(&str, &str)| Name {
            namespace: (*namespace).into(),
            local: (*local).into(),
        };
        of.iter().map(name).collect()
    }

    #[test]
    fn what_a_propfind_asks_for_is_understood() {
        assert_eq!(propfind(b" \n").unwrap(), Wanted::All(Vec::new()));
        let of = |inner: &str| {
            propfind(
                format!("<?xml version='1.0'?><p xmlns='DAV:'>{inner}</p>")
                    .replace("<p ", "<propfind ")
                    .replace("</p>", "</propfind>")
                    .as_bytes(),
            )
        };
        assert_eq!(of("<propname/>").unwrap(), Wanted::Names);
        assert_eq!(of("<allprop/>").unwrap(), Wanted::All(Vec::new()));
        let include = of("<allprop/><include><x:a xmlns:x='y'/></include>").unwrap();
        assert_eq!(include, Wanted::All(names(&[("y", "a")])));
        let some = of("<prop><getetag/><a xmlns='x'/><b xmlns=''/></prop>").unwrap();
        assert_eq!(some, Wanted::Some(names(&[("DAV:", "getetag"), ("x", "a"), ("", "b")])));
        for wrong in
            ["", "<prop/><propname/>", "<propname/><include><a/></include>", "<prop>", "&x;"]
        {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        const NOTHING: &str = "<propfind xmlns='DAV:'><prop><x:a xmlns:x=''/></prop></propfind>";
        let entity = "<!DOCTYPE a [<!ENTITY x 'y'>]><propfind xmlns='DAV:'><allprop/></propfind>";
        for wrong in [entity, "<propfind/>", "<lockinfo xmlns='DAV:'/>", "x", "<a></b>", NOTHING] {
            assert!(propfind(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(propfind(&[0xff]).is_err());
        assert!(propfind(&vec![b' '; XML_BYTES_MAX * 2]).is_ok());
    }

    #[test]
    fn properties_are_kept_as_they_were_meant() {
        let body = "<D:propertyupdate xmlns:D='DAV:' xmlns:x='urn:x'>\
            <D:set><D:prop><x:one y='&quot;' xml:lang='en' x:z='1'>a &amp; <b xmlns='' />\
            <D:c> </D:c></x:one></D:prop></D:set>\
            <D:remove><D:prop><two xmlns=''/></D:prop></D:remove></D:propertyupdate>";
        let patches = proppatch(body.as_bytes()).unwrap();
        let value = "<one xmlns=\"urn:x\" y=\"&quot;\" xml:lang=\"en\" \
            xmlns:a2=\"urn:x\" a2:z=\"1\">a &amp; <b xmlns=\"\"/><c xmlns=\"DAV:\"> </c></one>";
        let kept: Vec<_> = patches.iter().map(|(_, property)| property.clone()).collect();
        assert_eq!(
            kept,
            [
                Property { name: "{urn:x}one".into(), value: Some(value.into()) },
                Property { name: "{}two".into(), value: None },
            ]
        );
        assert_eq!(Name::of_kept(&kept[0].name).as_ref(), Some(&patches[0].0));
        // What is kept is read again as the same.
        let again = format!(
            "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop>{value}</D:prop></D:set></D:propertyupdate>"
        );
        assert_eq!(proppatch(again.as_bytes()).unwrap()[0].1, kept[0]);
    }

    #[test]
    fn what_is_too_much_is_refused() {
        let update = |inner: &str| {
            let inner = format!("<set><prop>{inner}</prop></set>");
            proppatch(format!("<propertyupdate xmlns='DAV:'>{inner}</propertyupdate>").as_bytes())
        };
        assert!(update("").is_err());
        assert!(update(&"<a/>".repeat(PROPERTIES_MAX)).is_ok());
        assert!(update(&"<a/>".repeat(PROPERTIES_MAX + 1)).is_err());
        let deep = |depth| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(update(&deep(DEPTH_MAX)).is_ok());
        for depth in [DEPTH_MAX + 1, 9000] {
            assert!(update(&deep(depth)).is_err(), "{depth}");
        }
    }

    #[test]
    fn what_a_lock_is_to_be_is_understood() {
        let of = |scope: &str, more: &str| {
            let scope = format!("<lockscope><{scope}/></lockscope>{more}");
            lock(format!("<lockinfo xmlns='DAV:'>{scope}</lockinfo>").as_bytes())
        };
        let write = "<locktype><write/></locktype>";
        assert_eq!(lock(b"").unwrap(), None);
        let shared = LockWanted { is_exclusive: false, owner: String::new() };
        assert_eq!(of("shared", write).unwrap(), Some(shared));
        let own = format!("{write}<owner><href>me</href></owner>");
        let owner = "<owner xmlns=\"DAV:\"><href>me</href></owner>".to_owned();
        assert_eq!(of("exclusive", &own).unwrap(), Some(LockWanted { is_exclusive: true, owner }));
        assert!(of("exclusive", "").is_err() && of("other", write).is_err());
    }

    #[test]
    fn answers_are_xml_again() {
        let name = names(&[("a\"<", "b")]);
        let groups =
            [("200 OK", vec![Name::dav("x").empty()]), ("404 Not Found", vec![name[0].empty()])];
        let wanted = LockWanted { is_exclusive: true, owner: String::new() };
        let (token, root) = ("urn:uuid:1", "/dav/a&b");
        let lock = LockTold { wanted: &wanted, is_deep: true, seconds: 5, token, root };
        let locks = vec![lock_discovery(&[lock])];
        for groups in [&groups[..], &[], &[("200 OK", locks)]] {
            let body = response("/dav/a&<", groups);
            let whole = format!("{}{body}{MULTISTATUS_END}", multistatus_begin());
            let document = Document::parse(&whole).unwrap();
            let href = document.descendants().find(|node| own_name(*node) == Some("href")).unwrap();
            assert_eq!(href.text(), Some("/dav/a&<"));
        }
        Document::parse(&error("no-conflicting-lock", "<D:href>/dav/</D:href>")).unwrap();
    }
}
