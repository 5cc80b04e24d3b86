//! Pages of a few lines, in the style of the home page.

use crate::http::reply::Reply;
use std::fmt::{self, Display, Formatter, Write};

/// A page with `title` as its heading; `main` is HTML.
pub fn page(status: u16, title: &str, main: &str) -> Reply {
    let title = Escaped(title);
    Reply::html(
        status,
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1, viewport-fit=cover\">\n\
             <title>{title} · Propromo chat</title>\n<link rel=\"icon\" href=\"/assets/icon.svg\">\n\
             <link rel=\"stylesheet\" href=\"/assets/style.css\">\n</head>\n<body>\n<main class=\"small-page\">\n\
             <p class=\"brand\"><img src=\"/assets/icon.svg\" alt=\"\" width=\"28\" height=\"28\"> Propromo chat</p>\n\
             <h1>{title}</h1>\n{main}<p><a class=\"button\" href=\"/\">Open the chat</a></p>\n</main>\n</body>\n</html>\n"
        ),
    )
}

/// The page that a browser shows for an address without content.
pub fn not_found() -> Reply {
    page(
        404,
        "There is nothing here",
        "<p class=\"muted\">The address may be mistyped, or what was there is gone.</p>\n",
    )
}

/// Appends formatted HTML.
pub fn push(html: &mut String, part: fmt::Arguments<'_>) {
    // Writing into a string can't fail.
    let _ = html.write_fmt(part);
}

/// Text from others, which is escaped in HTML.
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_text() {
        let page = String::from_utf8(page(200, "<b>", "<p></p>").body).unwrap();
        assert!(page.contains("<h1>&lt;b&gt;</h1>"), "{page}");
    }
}
