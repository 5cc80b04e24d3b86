use super::*;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

fn hash(password: &str) -> Result<String, Refusal> {
    Ok(format!("hash of {password}"))
}

fn made(body: Value, current: Option<&RoomFields>) -> Result<RoomFields, Refusal> {
    Asked::read(body.to_string().as_bytes())?.of(current)?.hashed(hash)
}

/// The reason and the field that a client is told.
fn fault(body: Value, current: Option<&RoomFields>) -> (Reason, &'static str) {
    let Err(refusal) = made(body, current) else { panic!("accepted") };
    (refusal.reason, refusal.detail.first().map_or("", |(field, _)| field))
}

fn public(title: &str) -> Value {
    json!({"title": title, "description": "", "visibility": "public"})
}

fn private() -> RoomFields {
    let access = Access::Private { password_hash: "the old hash".to_owned() };
    RoomFields { title: "Old".to_owned(), description: "older".to_owned(), access, creator: None }
}

#[test]
fn a_segment_of_digits_is_a_number_and_any_other_a_title() {
    assert_eq!(key("7"), RoomKey::Id(7));
    for title in ["+7", "-7", "7a", "Public Chat", "99999999999999999999", "٧"] {
        assert_eq!(key(title), RoomKey::Title(title));
    }
}

#[test]
fn a_public_room_needs_a_title_and_its_visibility() {
    let room = made(public("Green Room"), None).unwrap_or_else(|r| panic!("{r}"));
    assert_eq!((room.title.as_str(), room.access.visibility()), ("Green Room", "public"));
    assert_eq!(fault(json!({"visibility": "public"}), None), (Reason::RoomInvalid, "title"));
    assert_eq!(fault(json!({"title": "No visibility"}), None), (Reason::RoomInvalid, "visibility"));
    assert_eq!(fault(json!({"title": "x1", "visibility": "secret"}), None), (Reason::RoomInvalid, "visibility"));
}

#[test]
fn a_title_has_2_to_70_characters() {
    for title in ["ab", "äö", &"é".repeat(70), "room 1", "1st"] {
        assert!(made(public(title), None).is_ok(), "{title}");
    }
    for title in ["", "a", " a ", &"é".repeat(71), "12", "0012", "a\nb", "all", "Events"] {
        assert_eq!(fault(public(title), None), (Reason::RoomInvalid, "title"), "{title:?}");
    }
}

#[test]
fn a_description_has_at_most_70_characters() {
    let body = |n: usize| json!({"title": "Room", "visibility": "public", "description": "ü".repeat(n)});
    assert!(made(body(70), None).is_ok());
    assert_eq!(fault(body(71), None), (Reason::RoomInvalid, "description"));
}

#[test]
fn a_closed_room_needs_a_password_of_8_characters_that_bcrypt_sees_whole() {
    for visibility in ["private", "hidden", "Private", "HIDDEN"] {
        let body = |password: &str| json!({"title": "Room", "visibility": visibility, "password": password});
        for password in ["12345678", "pässwört", &"x".repeat(72)] {
            assert!(made(body(password), None).is_ok(), "{password}");
        }
        for password in ["", "1234567", &"x".repeat(73), "12345678\0"] {
            assert_eq!(fault(body(password), None), (Reason::RoomInvalid, "password"), "{password:?}");
        }
    }
}

#[test]
fn a_public_room_must_not_have_a_password_however_short() {
    for password in ["x", "12345678"] {
        let body = json!({"title": "Room", "visibility": "public", "password": password});
        assert_eq!(fault(body, None), (Reason::RoomInvalid, "visibility"));
    }
}

#[test]
fn a_field_of_another_type_is_invalid_and_a_body_of_another_type_unreadable() {
    assert_eq!(fault(json!({"title": 7}), None), (Reason::RoomInvalid, "title"));
    for body in ["", "{", "[]", "\"room\"", "null"] {
        assert!(Asked::read(body.as_bytes()).is_err_and(|r| r.reason == Reason::RoomUnreadable), "{body}");
    }
}

#[test]
fn a_change_keeps_what_it_does_not_name() {
    let room = made(json!({"description": "new"}), Some(&private())).unwrap_or_else(|r| panic!("{r}"));
    assert!(room == RoomFields { description: "new".to_owned(), ..private() });
}

#[test]
fn a_closed_room_can_be_hidden_without_naming_its_password_again() {
    let room = made(json!({"visibility": "hidden"}), Some(&private())).unwrap_or_else(|r| panic!("{r}"));
    assert!(room.access == Access::Hidden { password_hash: "the old hash".to_owned() });
}

#[test]
fn a_new_password_is_hashed() {
    let room = made(json!({"password": "12345678"}), Some(&private())).unwrap_or_else(|r| panic!("{r}"));
    assert_eq!(room.access.password_hash(), Some("hash of 12345678"));
}

#[test]
fn a_room_that_is_opened_loses_its_password_and_one_that_is_closed_needs_one() {
    let room = made(json!({"visibility": "public"}), Some(&private())).unwrap_or_else(|r| panic!("{r}"));
    assert!(room.access == Access::Public);
    assert_eq!(fault(json!({"visibility": "private"}), Some(&room)), (Reason::RoomInvalid, "password"));
}

#[test]
fn a_room_is_shown_with_exactly_the_fields_that_clients_know() {
    let at = Timestamp::from_millisecond(1_767_323_045_678).unwrap();
    let room = ChatRoom { id: 3, fields: private(), created_at: at, updated_at: at, version: 1 };
    let users = vec![User { username: "Ann".into(), color: "red".into(), last_activity: at }];
    let time = "2026-01-02T03:04:05.678Z";
    let shown = json!({
        "title": "Old", "description": "older", "visibility": "private", "createdAt": time, "updatedAt": time,
        "id": 3, "users": [{"username": "Ann", "color": "red", "last_activity": time}],
    });
    assert_eq!(serde_json::to_value(Shown::new(&room, users)).unwrap(), shown);
}

proptest! {
    #[test]
    fn any_body_is_a_room_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200), object in "\\{.{0,80}\\}") {
        let _ = Asked::read(&body);
        let _ = Asked::read(object.as_bytes());
    }

    #[test]
    fn what_is_accepted_keeps_to_the_limits(title in ".{0,80}", description in ".{0,80}") {
        let body = json!({"title": title, "description": description, "visibility": "public"});
        if let Ok(room) = made(body, None) {
            prop_assert!((2..=70).contains(&room.title.chars().count()));
            prop_assert!(room.description.chars().count() <= 70);
            prop_assert_eq!(key(&room.title), RoomKey::Title(&room.title));
        }
    }
}
