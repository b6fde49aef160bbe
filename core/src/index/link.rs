//! A link of the list: one word that names the node behind the one it belongs to, and where that node
//! stands in the order of the list.
//!
//! ```text
//!  63                          31  30   29                     2    1      0
//! +------------------------------+----+------------------------+-----+--------+
//! |     order of the next        | is |   number of the next   | new | marked |
//! +------------------------------+----+------------------------+-----+--------+
//! ```
//!
//! *order* are the upper bits of the next node's key. *is*: it is an object, and the number that of its slot;
//! otherwise a bucket, and the number its place. Order and *is* together are the *rank*: a bucket stands
//! before the objects of its order. *new* and *marked* speak of the node that the link belongs to: a bucket
//! that is not in the list yet, an object that is being removed.

/// Bits of the order. In models so few that objects share one.
pub(super) const ORDER_BITS: u32 = if cfg!(rtm_loom) { 3 } else { 33 };
const RANK_SHIFT: u32 = 30;
const NUMBER_SHIFT: u32 = 2;
const _: () = assert!(RANK_SHIFT - NUMBER_SHIFT >= crate::handle::SLOT_BITS);

pub(super) const NEW: u64 = 2;
pub(super) const MARKED: u64 = 1;
const FLAGS: u64 = NEW | MARKED;
/// What a bucket holds that nobody has begun to link.
pub(super) const UNUSED: u64 = 0;

/// The order behind which there is nothing. No object and no bucket has it.
const LAST_ORDER: u64 = (1 << ORDER_BITS) - 1;

/// Order and kind of a node: what the list is sorted by, as far as a link tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u64);

impl Rank {
    pub(super) fn of_object(key: u64) -> Rank {
        Rank((key >> (64 - ORDER_BITS)).min(LAST_ORDER - 1) << 1 | 1)
    }

    /// `key` is the least that belongs into the bucket.
    pub(super) fn of_bucket(key: u64) -> Rank {
        Rank(key >> (64 - ORDER_BITS) << 1)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Link(pub(super) u64);

impl Link {
    /// To nothing: the end of the list.
    pub(super) const END: Link = Link(LAST_ORDER << 1 << RANK_SHIFT);

    pub(super) fn to(rank: Rank, number: u32) -> Link {
        Link(rank.0 << RANK_SHIFT | u64::from(number) << NUMBER_SHIFT)
    }

    pub(super) fn rank(self) -> Rank {
        Rank(self.0 >> RANK_SHIFT)
    }

    pub(super) fn number(self) -> u32 {
        (self.0 as u32 & ((1 << RANK_SHIFT) - 1)) >> NUMBER_SHIFT
    }

    pub(super) fn is_to_bucket(self) -> bool {
        self.rank().0 & 1 == 0
    }

    pub(super) fn is_end(self) -> bool {
        self.bare() == Link::END
    }

    pub(super) fn is_marked(self) -> bool {
        self.0 & MARKED != 0
    }

    /// Whether the bucket it belongs to is in the list.
    pub(super) fn is_in_use(self) -> bool {
        self.0 != UNUSED && self.0 & NEW == 0
    }

    /// Where it leads, without what it says of its own node.
    pub(super) fn bare(self) -> Link {
        Link(self.0 & !FLAGS)
    }

    /// The same node's link when it leads elsewhere.
    pub(super) fn redirected(self, to: Link) -> Link {
        Link(to.bare().0 | self.0 & FLAGS)
    }
}

#[cfg(all(test, not(rtm_loom)))]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_touch() {
        let last = u64::MAX;
        for (rank, object) in [
            (Rank::of_object(0), true),
            (Rank::of_object(last), true),
            (Rank::of_bucket(0), false),
            (Rank::of_bucket(last << 37), false),
        ] {
            for number in [0, 1, (1 << 28) - 1] {
                for flags in [0, NEW, MARKED, FLAGS] {
                    let link = Link(Link::to(rank, number).0 | flags);
                    assert!(link.rank() == rank && link.number() == number);
                    assert_eq!(link.is_to_bucket(), !object);
                    assert_eq!(link.is_marked(), flags & MARKED != 0);
                    assert!(!link.is_end() && rank < Link::END.rank());
                    let there = link.redirected(Link::END);
                    assert!(there.is_end() && there.0 & FLAGS == flags);
                }
            }
        }
        assert!(Link::END.is_in_use() && Link::END.is_to_bucket());
    }

    #[test]
    fn a_bucket_stands_before_its_objects() {
        for key in [0, 1 << 63, 3 << 40, u64::MAX << 37] {
            assert!(Rank::of_bucket(key) < Rank::of_object(key));
            assert!(Rank::of_bucket(key) > Rank::of_object(key.wrapping_sub(1)) || key == 0);
        }
    }
}
