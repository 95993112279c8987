//! The segments of the exports: the interfaces that they name, and whether VLAN tags arrive
//! there.

use std::sync::Arc;

use log::warn;

use super::failure::Failure;
use crate::config::Export;
use crate::link::{self, Facts, Named, NicSetting};
use crate::shelf::{Ingress, Segments};
use crate::store::Problem;
use crate::wire::vlan::{UNTAGGED, VLAN_MAX, Vlans};

/// The most VLANs that a message names.
const NAMED_MAX: usize = 8;

/// The segments of an export, of the served interfaces.
///
/// # Errors
///
/// It names an interface that is not served, or VLANs where tags do not arrive.
pub fn of(export: &Export, served: &[&Facts]) -> Result<Segments, Failure> {
    let there = link::all().unwrap_or_default();
    let segments = placed(export, served, &there).map_err(Failure::request)?;
    hidden(export, &segments, served).map_or(Ok(segments), |problem| Err(Failure::machine(problem)))
}

/// The same without looking at tags.
pub fn placed(export: &Export, served: &[&Facts], there: &[Named]) -> Result<Segments, Problem> {
    let mut interfaces: Vec<u16> = Vec::new();
    for wanted in &export.interfaces {
        let fitting = (0..).zip(served).filter(|(_, facts)| fits(wanted, facts, there));
        let fitting: Vec<u16> = fitting.map(|(at, _)| at).collect();
        if fitting.is_empty() {
            let names: Vec<&str> = served.iter().map(|facts| facts.name.as_str()).collect();
            return Err(Problem::new(
                format!("{}: {wanted} is none of the interfaces that are served", export.address),
                format!("name one of those ({}), or serve on it too", names.join(", ")),
            ));
        }
        interfaces.extend(fitting);
    }
    let interfaces = (!interfaces.is_empty()).then(|| Arc::from(interfaces));
    Ok(Segments { vlans: export.vlans.clone(), interfaces })
}

/// Whether an export is to be served on an interface.
pub fn is_on(export: &Export, facts: &Facts, there: &[Named]) -> bool {
    export.interfaces.is_empty() || export.interfaces.iter().any(|wanted| fits(wanted, facts, there))
}

/// Whether this name or pattern stands for an interface.
fn fits(wanted: &str, facts: &Facts, there: &[Named]) -> bool {
    let is_it =
        |name: &str| name == wanted || glob::Pattern::new(wanted).is_ok_and(|pattern| pattern.matches(name));
    let names = there.iter().find(|one| one.index == facts.index);
    is_it(&facts.name) || names.is_some_and(|one| one.names().any(|name| is_it(name)))
}

/// Why an export cannot be served on its segments: it names VLANs, and frames arrive without
/// their tags.
pub fn hidden(export: &Export, segments: &Segments, served: &[&Facts]) -> Option<Problem> {
    let is_hidden = |at, facts: &Facts| {
        !segments.is_served(Ingress { interface: at, strips_tags: facts.strips_tags }) && segments.has(at)
    };
    let (_, facts) = (0..).zip(served).find(|(at, facts)| is_hidden(*at, facts))?;
    let what = format!(
        "{}: vlan {} is not possible on {}, where frames arrive without their VLAN tags",
        export.address,
        list(export.vlans.ids()),
        facts.name
    );
    Some(Problem::new(what, remedy(facts)))
}

/// Logs what exports with these segments need to know of VLANs on an interface.
pub fn warn<'a>(interface: u16, facts: &Facts, all: impl Iterator<Item = &'a Segments>) {
    let here: Vec<&Vlans> =
        all.filter(|segments| segments.has(interface)).map(|segments| &segments.vlans).collect();
    for problem in remarks(facts, &here) {
        warn!("{problem}");
    }
}

/// What may go wrong on an interface with exports in these VLANs.
pub fn remarks(facts: &Facts, vlans: &[&Vlans]) -> Vec<Problem> {
    let name = &facts.name;
    let mut found = Vec::new();
    if facts.strips_tags && vlans.iter().any(|vlans| !vlans.names_some()) {
        let what = format!(
            "{name}: frames arrive without their VLAN tags, so hosts of every VLAN that reaches it may use its exports, \
             and get replies without a tag"
        );
        found.push(Problem::new(what, remedy(facts)));
    }
    let there = if facts.filters_vlans { link::all().unwrap_or_default() } else { Vec::new() };
    let is_open = |id: u16| there.iter().any(|one| one.lower == facts.index && one.vlan == Some(id));
    let mut missing: Vec<u16> = vlans.iter().flat_map(|vlans| vlans.ids()).collect();
    missing.retain(|id| *id != UNTAGGED && !is_open(*id));
    missing.sort_unstable();
    missing.dedup();
    let any = vlans.contains(&&Vlans::Any);
    if let (true, Some(id)) = (facts.filters_vlans, missing.first().copied().or(any.then_some(VLAN_MAX))) {
        let which =
            if any { "of VLANs that have".into() } else { format!("of VLAN {}, which has", list(missing)) };
        let what =
            format!("{name}: the VLAN filter of the NIC may drop frames {which} no VLAN interface there");
        let off = format!("`ethtool -K {name} rx-vlan-filter off`, or ");
        let off = if NicSetting::RX_VLAN_FILTER.is_fixed(name) { "" } else { &off };
        let id = if any { "N".to_owned() } else { id.to_string() };
        found.push(Problem::new(
            what,
            format!("{off}`ip link add link {name} name {name}.{id} type vlan id {id}` and set it up"),
        ));
    }
    found
}

/// How to make tags arrive.
pub fn remedy(facts: &Facts) -> String {
    let name = &facts.name;
    let instead = format!(
        "a VLAN interface (`ip link add link {name} name {name}.N type vlan id N`), on which frames of its VLAN are untagged"
    );
    if facts.is_untagging() {
        return format!("the kernel removes them before: serve the interface below, or {instead}");
    }
    let strips = |setting: &NicSetting| setting.read(name).is_ok_and(|on| on != 0);
    let on: Vec<NicSetting> = NicSetting::STRIPPING.into_iter().filter(strips).collect();
    if on.iter().any(|setting| setting.is_fixed(name)) {
        return format!("the driver cannot leave them in: serve another interface, or {instead}");
    }
    let features = on.iter().filter_map(|setting| setting.feature());
    let off = features.map(|feature| format!(" {feature} off")).collect::<String>();
    let off = format!("`ethtool -K {name}{off}`");
    if facts.driver == "veth" {
        // The other end puts them beside the frame, whatever this one says.
        return format!(
            "`ethtool -K PEER txvlan off tx-vlan-stag-hw-insert off` at its other end, and {off}"
        );
    }
    off
}

fn list(ids: impl IntoIterator<Item = u16>) -> String {
    let word = |id: u16| if id == UNTAGGED { "untagged".to_owned() } else { id.to_string() };
    let mut words: Vec<String> = ids.into_iter().take(NAMED_MAX + 1).map(word).collect();
    if let Some(last) = words.get_mut(NAMED_MAX) {
        "...".clone_into(last);
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lo() -> Facts {
        Facts { strips_tags: false, filters_vlans: false, ..Facts::read("lo").unwrap() }
    }

    #[test]
    fn a_filter_is_told_with_the_vlans_that_it_may_drop() {
        let (two, many) = (Vlans::listed([0, 20, 30]), Vlans::listed(1..100));
        let said = |facts: &Facts, vlans: &[&Vlans]| {
            remarks(facts, vlans).iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(said(&lo(), &[&two, &Vlans::Any, &Vlans::Untagged]), "");
        let filters = Facts { filters_vlans: true, ..lo() };
        assert_eq!(said(&filters, &[&Vlans::Untagged]), "");
        // The loopback's filter cannot be changed, so the command for that is left out.
        for (vlans, parts) in [
            (
                &two,
                ["frames of VLAN 20, 30, which has no", ": `ip link add link lo name lo.20 type vlan id 20`"],
            ),
            (&many, ["of VLAN 1, 2, 3, 4, 5, 6, 7, 8, ..., which", "name lo.1 type vlan id 1`"]),
            (&Vlans::Any, ["of VLANs that have no VLAN interface", "name lo.N type vlan id N`"]),
        ] {
            let text = said(&filters, &[vlans]);
            assert!(parts.iter().all(|part| text.contains(part)) && text.lines().count() == 1, "{text}");
        }
    }

    #[test]
    fn where_tags_are_removed_only_exports_that_name_vlans_are_refused() {
        let strips = Facts { strips_tags: true, driver: "bridge".into(), ..lo() };
        let export = |text: &str| format!("0.1=/x,{text}").parse::<Export>().unwrap();
        for (text, is_hidden) in [("vlan=any", false), ("vlan=untagged", false), ("vlan=20", true)] {
            let (export, segments) = (export(text), placed(&export(text), &[&strips], &[]).unwrap());
            let hidden = hidden(&export, &segments, &[&strips]).map(|problem| problem.to_string());
            assert_eq!(hidden.is_some(), is_hidden, "{text}: {hidden:?}");
            assert_eq!(remarks(&strips, &[&export.vlans]).len(), usize::from(!is_hidden), "{text}");
            assert!(
                hidden.is_none_or(|text| text.contains("serve the interface below, or a VLAN interface"))
            );
        }
        // On another interface it may.
        let elsewhere = Segments { vlans: Vlans::listed([20]), interfaces: Some(Arc::from([1])) };
        assert_eq!(hidden(&export("vlan=20"), &elsewhere, &[&strips, &lo()]), None);
    }
}
