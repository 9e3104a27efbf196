//! The number of a row: the room, then the place in it, so that what stands together in a room stands together in the file.

use std::ops::Range;

use chinwag_proto::{RoomId, Seq};

use crate::error::Fault;

/// Bits of a row's number that are the place in the room.
const SEQ_BITS: u32 = 40;
/// The last place that a room can have: at a thousand messages a second it is reached after 34 years.
pub(crate) const LAST_SEQ: u64 = (1 << SEQ_BITS) - 1;
/// The largest number of a room, of which all rows and the one after them are positive numbers.
const LAST_ROOM: u32 = (1 << (62 - SEQ_BITS)) - 1;

/// The row of this place.
///
/// # Errors
/// [`Fault::Refused`] when there is none.
pub(crate) fn row(room: RoomId, seq: Seq) -> Result<i64, Fault> {
    let (room, seq) = (room.to_wire(), seq.to_wire());
    if room > LAST_ROOM || seq == 0 || seq > LAST_SEQ {
        return Err(Fault::Refused(format!("no message can be kept in room {room} at place {seq}")));
    }
    Ok((i64::from(room) << SEQ_BITS) | seq.cast_signed())
}

/// The rows of a room that come before this place; none for a room that cannot be.
pub(crate) fn rows_before(room: RoomId, before: Seq) -> Range<i64> {
    if room.to_wire() > LAST_ROOM {
        return 0..0;
    }
    let base = i64::from(room.to_wire()) << SEQ_BITS;
    base..base + before.to_wire().min(LAST_SEQ + 1).cast_signed()
}

/// All rows of a room.
pub(crate) fn rows(room: RoomId) -> Range<i64> {
    rows_before(room, Seq::from_wire(u64::MAX))
}

/// How many messages there are from this row to the last place of its room: they have no gap.
pub(crate) fn messages_from(first: i64, last: u64) -> u64 {
    place(first).map_or(0, |(_, seq)| (last + 1).saturating_sub(seq.to_wire()))
}

/// Whose place a row is; nobody's, for a number below zero.
pub(crate) fn place(row: i64) -> Option<(RoomId, Seq)> {
    let row = u64::try_from(row).ok()?;
    let room = u32::try_from(row >> SEQ_BITS).ok()?;
    Some((RoomId::from_wire(room), Seq::from_wire(row & LAST_SEQ)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_one_row_and_rooms_do_not_touch() {
        for (room, seq) in [(0, 1), (0, LAST_SEQ), (1, 1), (7, 12_345), (LAST_ROOM, LAST_SEQ)] {
            let (room, seq) = (RoomId::from_wire(room), Seq::from_wire(seq));
            let row = row(room, seq).unwrap();
            assert_eq!(place(row), Some((room, seq)));
            assert!(rows(room).contains(&row) && !rows_before(room, seq).contains(&row));
        }
        assert!(rows(RoomId::from_wire(1)).end <= rows(RoomId::from_wire(2)).start);
        assert!(rows(RoomId::from_wire(LAST_ROOM + 1)).is_empty());
        for (room, seq) in [(0, 0), (0, LAST_SEQ + 1), (LAST_ROOM + 1, 1)] {
            assert!(row(RoomId::from_wire(room), Seq::from_wire(seq)).is_err());
        }
        assert_eq!(place(-1), None);
    }
}
