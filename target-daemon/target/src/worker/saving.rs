//! Waiting for the state of an export to be saved: see `worker/save.rs`.

use crossbeam_channel::Sender;

use super::execute::Context;
use super::export_runtime::ExportRuntime;
use super::messages::Finished;
use super::save::{Cleared, SaveAck, SaveRequest, Waits};
use crate::shelf::{HostSetting, HostSettings};
use crate::wire::ether::Mac;

impl ExportRuntime {
    /// The reply to a request that sets something. It has to wait if that is to be saved,
    /// and not on stable storage yet.
    pub(super) fn reply_when_saved(
        &mut self,
        index: u16,
        (source, setting): (Mac, HostSetting),
        done: Finished,
        context: &Context<'_>,
    ) -> Option<Finished> {
        let state = &self.export.state;
        // A reservation that is saved goes for good if its sole holder releases it. What others
        // have made of it meanwhile was never saved.
        let releases_its_own = setting == HostSetting::Reservation
            && state.reservation().is_empty()
            && self.saves.wanted.reservation == [source];
        if state.settings.host_settings == HostSettings::Allow || releases_its_own {
            self.saves.adopt(setting, state);
        }
        match self.saves.wanted.agrees(setting, state) {
            true => self.wait_for_save(index, Waits::Reply(done), context),
            false => Some(done),
        }
    }

    /// Clears a value; sends to `to` when the change is on stable storage.
    pub(super) fn clear(
        &mut self,
        index: u16,
        setting: HostSetting,
        to: Sender<Cleared>,
        context: &Context<'_>,
    ) {
        self.export.state.clear(setting);
        self.saves.adopt(setting, &self.export.state);
        self.answered.changes.cleared(setting, context.now_ns);
        // It is no reply.
        let _ = self.wait_for_save(index, Waits::Asked(to), context);
    }

    /// Makes `waits` wait, unless what it waits for is saved already. Returns a request that
    /// need not wait, or may not wait and gets no reply.
    fn wait_for_save(&mut self, index: u16, waits: Waits, context: &Context<'_>) -> Option<Finished> {
        if self.saves.is_saved() || context.state_writer.is_none() {
            return waits.saved();
        }
        // The operator's change does not wait for an acknowledgement that may be lost.
        let is_under_way = matches!(waits, Waits::Reply(_)) && self.saves.is_under_way(context.now_ns);
        if is_under_way || self.send(index, context) { self.saves.add(waits) } else { waits.busy() }
    }

    /// Sends the newest state to the state writer. Returns whether there was room.
    fn send(&mut self, index: u16, context: &Context<'_>) -> bool {
        let Some((worker, writer)) = &context.state_writer else { return false };
        // Before the state is copied.
        if writer.is_full() {
            return false;
        }
        let save = SaveRequest {
            worker: *worker,
            export: index,
            number: self.number,
            revision: self.saves.revision,
            key: self.key.clone(),
            saved: self.saves.wanted.clone(),
        };
        let sent = writer.try_send(save).is_ok();
        if sent {
            self.saves.sent(context.now_ns);
        }
        sent
    }

    /// Handles a saved state: releases what has waited for it, and sends the next one.
    pub(super) fn saved(&mut self, saved: SaveAck, done: &mut Vec<Finished>, context: &Context<'_>) {
        if self.number != saved.number {
            return;
        }
        self.saves.acknowledged(saved.revision, done);
        if !self.saves.is_saved()
            && !self.saves.is_under_way(context.now_ns)
            && !self.send(saved.export, context)
        {
            self.saves.busy();
        }
    }
}
