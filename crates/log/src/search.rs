use notification_event::Position;

/// The last position in `floor..=head` for which `holds` is true, given that it
/// is true from `floor` up to some place and false from there on. `floor`
/// itself is not asked about.
pub(crate) fn last_where<E>(
    floor: Position,
    head: Position,
    mut holds: impl FnMut(Position) -> Result<bool, E>,
) -> Result<Position, E> {
    let (mut known, mut unknown) = (floor, head);
    while known < unknown {
        let middle = known.plus(unknown.since(known).div_ceil(2));
        if holds(middle)? {
            known = middle;
        } else {
            unknown = Position(middle.0 - 1);
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_position_that_holds_is_found() {
        for floor in 0..4 {
            for head in floor..12 {
                for last in floor..=head {
                    let found = last_where(Position(floor), Position(head), |p| {
                        assert!(p.0 > floor && p.0 <= head);
                        Ok::<_, ()>(p.0 <= last)
                    });
                    assert_eq!(found, Ok(Position(last)));
                }
            }
        }
    }
}
