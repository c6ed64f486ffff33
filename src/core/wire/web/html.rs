//! Pages: a text with `{{names}}` in it, in the places of which values are put.

/// The page. A value is put in as it is, so what is no HTML has to be [`escaped`] before; what a value has
/// of `{{` is left alone. A name without a value is left out.
pub fn fill(page: &str, values: &[(&str, &str)]) -> String {
    let mut pieces = page.split("{{");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once("}}").unwrap_or((piece, ""));
        let value = values.iter().find(|(own, _)| *own == name);
        out.push_str(value.map_or("", |(_, value)| value));
        out.push_str(rest);
    }
    out
}

/// A text as HTML has it, in elements and in values that are in quotes.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// How many bytes, for people: `12 B`, `3.4 MB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10;
    for unit in UNITS {
        tenths = (tenths + 500) / 1000;
        if tenths < 10_000 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_put_in_its_place_and_is_no_place_itself() {
        let values = [("a", "{{b}}"), ("b", "2")];
        assert_eq!(fill("<{{a}}> {{b}}{{c}}.", &values), "<{{b}}> 2.");
        assert_eq!(fill("", &values), "");
    }

    #[test]
    fn what_would_be_html_is_not() {
        assert_eq!(
            escaped("<img src=x onerror='a' b=\"c\">&amp;"),
            "&lt;img src=x onerror=&#39;a&#39; b=&quot;c&quot;&gt;&amp;amp;"
        );
    }

    #[test]
    fn sizes_are_said_with_one_digit_behind_the_point() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_250_000, "1.3 MB"),
            (999_960, "1.0 MB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }
}
