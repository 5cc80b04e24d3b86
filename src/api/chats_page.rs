//! The list of rooms as a page, for browsers that open `/chats`.

use super::small_page::{self, Escaped};
use crate::{
    door::chitchat::room::Shown,
    http::{negotiation::weighted, reply::Reply, request::Request},
};

/// Whether the client prefers a page to JSON (RFC 9110 §12.5.1): only if it names HTML.
pub fn preferred(request: &Request) -> bool {
    let (mut html, mut json, mut any) = (None, None, None);
    for (range, weight) in weighted(request.header_values("accept")) {
        let told = match range.to_ascii_lowercase().as_str() {
            "text/html" => &mut html,
            "application/json" | "application/*" => &mut json,
            "*/*" => &mut any,
            _ => continue,
        };
        *told = Some(weight);
    }
    html.is_some_and(|html: f32| html > 0.0 && html > json.or(any).unwrap_or(0.0))
}

pub fn reply(rooms: &[Shown<'_>]) -> Reply {
    let mut list = String::new();
    match rooms {
        [] => list.push_str("<p>There are no rooms.</p>\n"),
        rooms => {
            list.push_str("<dl>\n");
            rooms.iter().for_each(|room| entry(&mut list, room));
            list.push_str("</dl>\n");
        }
    }
    small_page::page(200, "Rooms", &list)
}

fn entry(list: &mut String, room: &Shown<'_>) {
    let present = match (room.visibility(), room.users()) {
        ("public", 1) => ", 1 person here".to_owned(),
        ("public", present) => format!(", {present} people here"),
        // Who is in a closed room is not public.
        _ => String::new(),
    };
    small_page::push(
        list,
        format_args!(
            "<dt><a href=\"/#open%2F{}\">{}</a> ({}{present})</dt>\n<dd class=\"muted\">{}</dd>\n",
            room.id(),
            Escaped(room.title()),
            room.visibility(),
            Escaped(room.description()),
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        http::head::Method,
        store::chat_rooms::{Access, ChatRoom, RoomFields},
    };
    use jiff::Timestamp;

    fn wants_a_page(accept: &str) -> bool {
        preferred(&Request::bare(Method::Get, "/chats").with_header("accept", accept))
    }

    #[test]
    fn a_browser_gets_a_page() {
        assert!(wants_a_page("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(wants_a_page("text/html"));
        assert!(wants_a_page("application/json;q=0.5, Text/HTML; q=0.9"));
    }

    #[test]
    fn a_program_gets_json() {
        let wanted =
            ["*/*", "application/json", "application/json, text/html;q=0.9", "text/html;q=0", "text/plain", ""];
        for accept in wanted {
            assert!(!wants_a_page(accept), "{accept}");
        }
        assert!(!preferred(&Request::bare(Method::Get, "/chats")));
    }

    #[test]
    fn a_title_is_text_and_not_html() {
        let fields = RoomFields {
            title: "<script>&\"'".to_owned(),
            description: "</dd>".to_owned(),
            access: Access::Public,
            creator: None,
        };
        let now = Timestamp::UNIX_EPOCH;
        let room = ChatRoom { id: 2, fields, created_at: now, updated_at: now, version: 1 };
        let page = String::from_utf8(reply(&[Shown::new(&room, Vec::new())]).body).unwrap();
        assert!(page.contains(">&lt;script&gt;&amp;&quot;&#39;</a> (public, 0 people here)"), "{page}");
        assert!(page.contains("<dd class=\"muted\">&lt;/dd&gt;</dd>"), "{page}");
    }
}
