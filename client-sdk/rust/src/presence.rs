//! A channel's members as a subscriber holds them: what `subscribe` answered, and every change since.

use hubbub_protocol::{
    frame::{Member, PresenceChange, PresenceState},
    limits::MAX_MEMBERS,
};

/// The members when a subscription began, in byte order of their users.
pub(crate) fn begin(state: &PresenceState) -> PresenceState {
    PresenceState { count: state.count, members: state.members.as_deref().and_then(list) }
}

/// Takes a change into `state`, whose members are in order and stay so: at most [`MAX_MEMBERS`], or none at all.
pub(crate) fn apply(state: &mut PresenceState, change: &PresenceChange) {
    state.count = change.count;
    if change.count > MAX_MEMBERS as u64 {
        state.members = None;
    } else if let Some(members) = &change.members {
        state.members = list(members);
    } else if let Some(members) = &mut state.members {
        for user in &change.left {
            if let Ok(at) = find(members, user) {
                members.remove(at);
            }
        }
        for member in &change.joined {
            match find(members, &member.user) {
                Ok(at) => members[at] = member.clone(),
                Err(at) => members.insert(at, member.clone()),
            }
        }
        // Only a server that miscounts gets here.
        if members.len() > MAX_MEMBERS {
            state.members = None;
        }
    }
}

fn list(members: &[Member]) -> Option<Vec<Member>> {
    let mut members = members.to_vec();
    members.sort_unstable_by(|a, b| a.user.cmp(&b.user));
    members.dedup_by(|a, b| a.user == b.user);
    (members.len() <= MAX_MEMBERS).then_some(members)
}

fn find(members: &[Member], user: &str) -> Result<usize, usize> {
    members.binary_search_by(|member| member.user.as_str().cmp(user))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::channel;

    fn member(user: &str, connections: u32) -> Member {
        Member { user: user.into(), connections }
    }

    fn members(users: impl IntoIterator<Item = &'static str>) -> Vec<Member> {
        users.into_iter().map(|user| member(user, 1)).collect()
    }

    fn change(count: u64) -> PresenceChange {
        PresenceChange { channel: channel("room:1"), count, joined: vec![], left: vec![], members: None }
    }

    #[test]
    fn who_came_and_went_is_in_order() {
        let mut state = begin(&PresenceState { count: 3, members: Some(members(["c", "a", "é"])) });
        assert_eq!(state.members, Some(members(["a", "c", "é"])));
        let joined = vec![member("b", 2), member("c", 4)];
        apply(&mut state, &PresenceChange { joined, left: vec!["a".into(), "nobody".into()], ..change(3) });
        assert_eq!(state, PresenceState { count: 3, members: Some(vec![member("b", 2), member("c", 4), member("é", 1)]) });
    }

    #[test]
    fn a_user_who_left_and_came_back_is_there() {
        let mut state = begin(&PresenceState { count: 1, members: Some(members(["a"])) });
        apply(&mut state, &PresenceChange { joined: vec![member("a", 3)], left: vec!["a".into()], ..change(1) });
        assert_eq!(state.members, Some(vec![member("a", 3)]));
    }

    #[test]
    fn a_whole_list_replaces_what_was_held() {
        let mut state = begin(&PresenceState { count: 2, members: Some(members(["a", "b"])) });
        apply(&mut state, &PresenceChange { members: Some(members(["d", "c"])), ..change(2) });
        assert_eq!(state.members, Some(members(["c", "d"])));
        apply(&mut state, &PresenceChange { members: Some(vec![]), ..change(0) });
        assert_eq!(state, PresenceState { count: 0, members: Some(vec![]) });
    }

    #[test]
    fn above_the_bound_there_is_no_list_until_the_server_sends_one() {
        let mut state = begin(&PresenceState { count: 1, members: Some(members(["a"])) });
        apply(&mut state, &change(1_001));
        assert_eq!(state, PresenceState { count: 1_001, members: None });
        apply(&mut state, &PresenceChange { left: vec!["a".into()], ..change(1_000) });
        assert_eq!(state, PresenceState { count: 1_000, members: None });
        apply(&mut state, &PresenceChange { members: Some(members(["b"])), ..change(1) });
        assert_eq!(state.members, Some(members(["b"])));
    }

    #[test]
    fn a_server_that_miscounts_cannot_make_it_grow() {
        let mut state = PresenceState { count: 0, members: Some(vec![]) };
        for n in 0..3 {
            let joined = (0..400).map(|at| member(&format!("{n} {at}"), 1)).collect();
            apply(&mut state, &PresenceChange { joined, ..change(400) });
        }
        assert_eq!(state.members, None);
        assert_eq!(
            begin(&PresenceState { count: 1, members: Some((0..1_001).map(|n| member(&n.to_string(), 1)).collect()) }).members,
            None
        );
    }
}
