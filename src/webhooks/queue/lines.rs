//! The lines of rooms that may be sent now: those who fill rooms take turns, and then their rooms do.
//!
//! Somebody who fills very many rooms has one turn in each round, like everybody else. A room that several fill stands
//! in the line of each, so that nobody is kept waiting by who else speaks there.

use crate::message::RoomName;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// An account by its address; all who have none are one filler without a name.
pub type Filler = Arc<str>;

/// How many lines a room stands in at most.
pub const MOST: usize = 16;

#[derive(Default)]
pub struct Lines {
    lines: HashMap<Filler, Line>,
    /// Whose turn is when. Each line is in it once.
    turns: BTreeMap<u64, Filler>,
    numbers: u64,
    /// Whose line was the longest, and the number at which all were compared.
    longest: Option<Filler>,
    compared: u64,
}

#[derive(Default)]
struct Line {
    turn: u64,
    rooms: BTreeMap<u64, RoomName>,
}

impl Lines {
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn clear(&mut self) {
        self.lines.clear();
        self.turns.clear();
    }

    /// Puts a room at the end of a line. Returns its number there.
    pub fn push(&mut self, filler: &Filler, room: &RoomName) -> u64 {
        self.numbers += 1;
        let number = self.numbers;
        let line = self.lines.entry(filler.clone()).or_default();
        if line.rooms.is_empty() {
            line.turn = number;
            self.turns.insert(number, filler.clone());
        }
        line.rooms.insert(number, room.clone());
        let length = line.rooms.len();
        if self.longest.as_ref().is_none_or(|longest| self.length(longest) < length) {
            self.longest = Some(filler.clone());
        }
        number
    }

    /// Takes a room out of a line.
    pub fn remove(&mut self, filler: &Filler, number: u64) {
        if let Some(line) = self.lines.get_mut(filler) {
            line.rooms.remove(&number);
            if line.rooms.is_empty() {
                self.turns.remove(&line.turn);
                self.lines.remove(filler);
            }
        }
    }

    /// The room whose turn it is. It is still in its lines: the caller takes it out of all of them.
    pub fn next(&mut self) -> Option<RoomName> {
        let (_, filler) = self.turns.pop_first()?;
        let line = self.lines.get_mut(&filler)?;
        self.numbers += 1;
        line.turn = self.numbers;
        let room = line.rooms.first_key_value().map(|(_, room)| room.clone());
        self.turns.insert(line.turn, filler);
        room
    }

    /// How many rooms stand in a line.
    pub fn length(&self, filler: &str) -> usize {
        self.lines.get(filler).map_or(0, |line| line.rooms.len())
    }

    /// The last room of about the longest line, if one has more than one room.
    pub fn last_of_longest(&mut self) -> Option<RoomName> {
        let known = self.longest.as_ref().map_or(0, |filler| self.length(filler));
        // To compare all costs little for each room that came or went since the last time.
        if 2 * known < self.lines.len().max(4) && self.numbers >= self.compared + self.lines.len() as u64 / 8 {
            let longest = self.lines.iter().max_by_key(|(_, line)| line.rooms.len());
            self.longest = longest.map(|(filler, _)| filler.clone());
            self.compared = self.numbers;
        }
        let line = self.lines.get(self.longest.as_ref()?)?;
        line.rooms.last_key_value().filter(|_| line.rooms.len() > 1).map(|(_, room)| room.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> RoomName {
        RoomName::channel(name)
    }

    /// The order in which these rooms of these fillers have their turns, while none is in more than one line.
    fn order(waiting: &[(&str, &str)]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut numbers = HashMap::new();
        for (filler, name) in waiting {
            let filler = Filler::from(*filler);
            numbers.insert(room(name), (filler.clone(), lines.push(&filler, &room(name))));
        }
        let mut order = Vec::new();
        while let Some(room) = lines.next() {
            let (filler, number) = &numbers[&room];
            lines.remove(filler, *number);
            order.push(room.local().to_owned());
        }
        assert!(lines.is_empty() && lines.turns.is_empty());
        order
    }

    #[test]
    fn who_fills_many_rooms_has_one_turn_in_each_round() {
        let waiting =
            [("mal", "m1"), ("mal", "m2"), ("mal", "m3"), ("mal", "m4"), ("al", "a1"), ("bo", "b1"), ("al", "a2")];
        assert_eq!(order(&waiting), ["m1", "a1", "b1", "m2", "a2", "m3", "m4"]);
    }

    #[test]
    fn the_longest_line_is_known_also_when_it_was_another() {
        let mut lines = Lines::default();
        let (mal, al) = (Filler::from("mal"), Filler::from("al"));
        let numbers: Vec<u64> = (0..9).map(|n| lines.push(&mal, &room(&format!("m{n}")))).collect();
        (0..3).for_each(|n| _ = lines.push(&al, &room(&format!("a{n}"))));
        assert_eq!(lines.last_of_longest(), Some(room("m8")));
        numbers.into_iter().for_each(|number| lines.remove(&mal, number));
        assert_eq!((lines.length("mal"), lines.length("al")), (0, 3));
        assert_eq!(lines.last_of_longest(), Some(room("a2")));
    }
}
