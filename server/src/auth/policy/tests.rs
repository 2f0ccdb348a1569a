//! The whole table, spelled, and what holds whatever the facts.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::auth::{Grant, Grants};

/// Roles across, acts down: owner, admin, moderator, member, guest, public and no member, private and invited, private and no member.
const TABLE: &[(Act, [char; 8])] = &[
    (Act::See, ['y', 'y', 'y', 'y', 'y', 'y', 'y', '?']),
    (Act::Subscribe, ['y', 'y', 'y', 'y', 'y', '-', '-', '?']),
    (Act::History, ['y', 'y', 'y', 'y', 'y', '-', '-', '?']),
    (Act::Presence, ['y', 'y', 'y', 'y', 'y', '-', '-', '?']),
    (Act::Publish, ['y', 'y', 'y', 'y', '-', '-', '-', '?']),
    (Act::Upload, ['y', 'y', 'y', 'y', '-', '-', '-', '?']),
    (Act::Invite, ['y', 'y', 'y', 'y', '-', '-', '-', '?']),
    (Act::Join, ['-', '-', '-', '-', '-', 'y', 'y', '?']),
    (Act::Leave, ['y', 'y', 'y', 'y', 'y', '-', 'y', '?']),
    (Act::Moderate, ['y', 'y', 'y', '-', '-', '-', '-', '?']),
    (Act::Manage, ['y', 'y', '-', '-', '-', '-', '-', '?']),
    (Act::Delete, ['y', '-', '-', '-', '-', '-', '-', '?']),
];

fn answer(sign: char) -> Result<(), Denied> {
    match sign {
        'y' => Ok(()),
        '-' => Err(Denied::Forbidden),
        _ => Err(Denied::NotFound),
    }
}

fn channel(text: &str) -> ChannelName {
    ChannelName::parse(text).unwrap()
}

/// A login of this server's own.
fn own() -> Identity {
    Identity { session: Some("s".into()), is_narrowed: false, ..Identity::new("zoe", Grants::default()) }
}

fn granted(actions: &[Action]) -> Identity {
    Identity::new("zoe", Grants::new(&[Grant { channels: vec!["*".to_owned()], actions: actions.to_vec() }]).unwrap())
}

fn ask(identity: &Identity, role: Role, place: Place, act: Act) -> Result<(), Denied> {
    let channel = channel("chat:1");
    decide(&Facts { identity, standing: Standing::Clear, role, is_banned: false, channel: &channel, place }, act).outcome
}

const fn room(kind: RoomKind, visibility: Visibility) -> Room {
    Room { kind, visibility, is_deleted: false }
}

const GROUP: Room = room(RoomKind::Group, Visibility::Private);

fn joined(role: Role) -> Option<Membership> {
    Some(Membership { role, state: MemberState::Joined })
}

fn columns() -> Vec<Place> {
    let invited = Some(Membership { role: Role::Member, state: MemberState::Invited });
    Role::ALL
        .into_iter()
        .map(|role| Place::Explicit(Some(GROUP), joined(role)))
        .chain([
            Place::Explicit(Some(room(RoomKind::Group, Visibility::Public)), None),
            Place::Explicit(Some(GROUP), invited),
            Place::Explicit(Some(GROUP), None),
        ])
        .collect()
}

#[test]
fn the_table_of_roles_and_acts() {
    assert_eq!(TABLE.iter().map(|(act, _)| *act).collect::<Vec<_>>(), Act::ALL, "every act is in the table");
    for (act, row) in TABLE {
        for (place, sign) in columns().into_iter().zip(row) {
            assert_eq!(ask(&own(), Role::Member, place, *act), answer(*sign), "{act:?} {place:?}");
        }
    }
}

#[test]
fn a_role_on_the_instance_counts_in_groups_and_not_among_two() {
    for (role, counts) in [(Role::Owner, Role::Admin), (Role::Admin, Role::Admin), (Role::Moderator, Role::Moderator)] {
        for act in Act::ALL.iter().copied().filter(|act| !matches!(act, Act::Join | Act::Leave)) {
            let as_member = ask(&own(), Role::Member, Place::Explicit(Some(GROUP), joined(counts)), act);
            assert_eq!(ask(&own(), role, Place::Explicit(Some(GROUP), None), act), as_member, "{role} {act:?}");
        }
        for kind in [RoomKind::Direct, RoomKind::Personal] {
            let place = Place::Explicit(Some(room(kind, Visibility::Private)), None);
            assert!(Act::ALL.iter().all(|act| ask(&own(), role, place, *act) == Err(Denied::NotFound)));
        }
        // It takes nothing from who has more.
        assert_eq!(ask(&own(), role, Place::Explicit(Some(GROUP), joined(Role::Owner)), Act::Delete), Ok(()));
    }
}

#[test]
fn what_nobody_made_or_somebody_deleted_is_not_there() {
    let deleted = Room { is_deleted: true, ..GROUP };
    for act in Act::ALL.iter().copied() {
        assert_eq!(ask(&own(), Role::Owner, Place::Explicit(None, None), act), Err(Denied::NotFound));
        assert_eq!(ask(&own(), Role::Owner, Place::Explicit(Some(deleted), joined(Role::Admin)), act), Err(Denied::NotFound));
        let restores = ask(&own(), Role::Member, Place::Explicit(Some(deleted), joined(Role::Owner)), act);
        assert_eq!(restores, if act == Act::Delete { Ok(()) } else { Err(Denied::NotFound) });
    }
}

#[test]
fn in_implicit_channels_grants_decide() {
    let nothing = Place::Implicit(Rights::default());
    for act in Act::ALL.iter().copied() {
        for action in Action::ALL {
            let expected = act.is_for_all_channels() && act.grants().contains(&action);
            assert_eq!(ask(&granted(&[action]), Role::Member, nothing, act).is_ok(), expected, "{action:?} {act:?}");
            let given = Place::Implicit(Rights::of([action]));
            assert_eq!(ask(&own(), Role::Member, given, act).is_ok(), expected, "account_grants {action:?} {act:?}");
            // What is given to accounts is given to no token that says itself what it allows, and to no outside one.
            assert!(ask(&granted(&[]), Role::Member, given, act).is_err());
            let outside = Identity { session: None, ..own() };
            assert!(ask(&outside, Role::Member, given, act).is_err());
        }
        assert_eq!(ask(&own(), Role::Moderator, nothing, act).is_ok(), act == Act::Moderate);
        assert!(ask(&granted(&[]), Role::Owner, nothing, act).is_err());
    }
}

#[test]
fn a_token_that_says_what_it_allows_narrows_a_membership() {
    let owner = Place::Explicit(Some(GROUP), joined(Role::Owner));
    assert_eq!(ask(&granted(&[Action::Subscribe]), Role::Member, owner, Act::Subscribe), Ok(()));
    assert_eq!(ask(&granted(&[Action::Subscribe]), Role::Member, owner, Act::Publish), Err(Denied::Forbidden));
    assert_eq!(ask(&granted(&[Action::Publish]), Role::Member, owner, Act::Subscribe), Err(Denied::NotFound), "it may not know of it");
    assert_eq!(ask(&granted(&Action::ALL), Role::Member, owner, Act::Delete), Ok(()));
}

#[test]
fn the_steps_tell_what_decided() {
    let channel = channel("chat:1");
    let identity = own();
    let facts = Facts {
        identity: &identity,
        standing: Standing::Clear,
        role: Role::Admin,
        is_banned: false,
        channel: &channel,
        place: Place::Explicit(Some(GROUP), joined(Role::Guest)),
    };
    let told: Vec<_> = decide(&facts, Act::Publish).steps.iter().collect();
    assert_eq!(told, [Reason::NotBanned, Reason::Member(Role::Guest), Reason::CountsAs(Role::Admin), Reason::Allowed]);
    let blocked = Facts { standing: Standing::Blocked, ..facts };
    assert_eq!(decide(&blocked, Act::See).steps.iter().last(), Some(Reason::Stands(Standing::Blocked)));
}

#[test]
fn only_owners_touch_admins() {
    let pairs = Role::ALL.into_iter().flat_map(|role| Role::ALL.map(|other| (role, other)));
    for (role, other) in pairs {
        let expected = matches!((role, other), (Role::Owner, _) | (Role::Admin, Role::Moderator | Role::Member | Role::Guest));
        assert_eq!(rules_over(role, other), expected, "{role} {other}");
    }
    for power in Power::ALL.iter().copied() {
        for role in Role::ALL {
            let expected = match power {
                Power::OwnAccount | Power::OwnFiles => true,
                Power::ListUsers => role != Role::Guest,
                Power::RuleUsers | Power::ReadAudit | Power::ManageKeys => role >= Role::Admin,
            };
            assert_eq!(wields(&own(), role, power), expected, "{role} {power:?}");
        }
        assert_eq!(wields(&granted(&[Action::Moderate]), Role::Owner, power), power == Power::ListUsers);
        assert_eq!(wields(&granted(&[Action::Publish]), Role::Owner, power), matches!(power, Power::ListUsers | Power::OwnFiles));
        assert!(wields(&granted(&[Action::Operate]), Role::Owner, power));
    }
}

fn places() -> impl Strategy<Value = Place> {
    let rights =
        prop::collection::vec(prop::sample::select(Action::ALL.to_vec()), 0..6).prop_map(|actions| Place::Implicit(Rights::of(actions)));
    let kinds = prop::sample::select(vec![RoomKind::Group, RoomKind::Direct, RoomKind::Personal]);
    let visibilities = prop::sample::select(vec![Visibility::Public, Visibility::Private]);
    let rooms = prop::option::of((kinds, visibilities, any::<bool>()).prop_map(|(kind, visibility, is_deleted)| Room {
        kind,
        visibility,
        is_deleted,
    }));
    let states = prop::sample::select(vec![MemberState::Invited, MemberState::Joined]);
    let members = prop::option::of((prop::sample::select(Role::ALL.to_vec()), states).prop_map(|(role, state)| Membership { role, state }));
    prop_oneof![rights, (rooms, members).prop_map(|(room, member)| Place::Explicit(room, member))]
}

fn identities() -> impl Strategy<Value = Identity> {
    let actions = prop::collection::vec(prop::sample::select(Action::ALL.to_vec()), 0..6);
    let sessions = prop::option::of(Just(Arc::<str>::from("s")));
    (actions, any::<bool>(), sessions).prop_map(|(actions, is_narrowed, session)| Identity { is_narrowed, session, ..granted(&actions) })
}

proptest! {
    #[test]
    fn whatever_the_facts(
        identity in identities(),
        role in prop::sample::select(Role::ALL.to_vec()),
        place in places(),
        act in prop::sample::select(Act::ALL.to_vec()),
        is_banned in any::<bool>(),
        standing in prop::sample::select(vec![Standing::Clear, Standing::Blocked, Standing::Deleted, Standing::Revoked]),
    ) {
        let channel = channel("chat:1");
        let facts = Facts { identity: &identity, standing, role, is_banned, channel: &channel, place };
        let decision = decide(&facts, act);
        prop_assert!(decision.steps.iter().count() > 0 && decision.steps.iter().count() < 6);
        if standing != Standing::Clear {
            prop_assert_eq!(decision.outcome, Err(Denied::Revoked));
        } else if is_banned {
            prop_assert_eq!(decision.outcome, Err(Denied::Banned));
        }
        // A token that says what it allows never allows more than one of the same user that does not.
        if let Place::Explicit(..) = place {
            let free = Identity { is_narrowed: false, ..identity.clone() };
            let freely = decide(&Facts { identity: &free, ..facts }, act).outcome;
            prop_assert!(decision.outcome.is_err() || freely.is_ok());
        }
        // Who may do anything here but join or restore may see the channel, if the token covers that.
        if decision.outcome.is_ok() && !matches!(act, Act::Delete) && !identity.is_narrowed && matches!(place, Place::Explicit(..)) {
            prop_assert_eq!(decide(&facts, Act::See).outcome, Ok(()));
        }
        // Of a private channel an outsider hears nothing.
        if let Place::Explicit(Some(room), None) = place
            && room.visibility == Visibility::Private && role.in_channels().is_none() && !is_banned && standing == Standing::Clear
        {
            prop_assert_eq!(decision.outcome, Err(Denied::NotFound));
        }
    }
}
