//! A process that is stopped for some time, under load.

use std::thread;
use std::time::Duration;

use crate::image::Dir;
use crate::kinds::Kind;
use crate::load::Load;
use crate::rig::{Rig, SECTORS, sick, well};
use xblade_kit::may_run;

every_kind!(a_process_that_is_stopped_under_load_loses_nothing);

fn a_process_that_is_stopped_under_load_loses_nothing(kind: &Kind) {
    if !may_run("a_process_that_is_stopped_under_load_loses_nothing") {
        return;
    }
    let dir = Dir::new();
    let image = dir.image("a", SECTORS);
    let rig = Rig::new(kind, image.path());
    thread::scope(|scope| {
        let loads = [sick(), well()].map(|at| Load::new(rig.host(), at, 16));
        let running = loads.map(|mut load| {
            scope.spawn(move || {
                let measure = load.run(Duration::from_millis(2500));
                load.finish();
                measure
            })
        });
        for pause in [100, 300, 1000] {
            thread::sleep(Duration::from_millis(150));
            rig.daemon().signal(libc::SIGSTOP);
            thread::sleep(Duration::from_millis(pause));
            rig.daemon().signal(libc::SIGCONT);
        }
        for load in running {
            assert!(load.join().unwrap().rate > 0.0);
        }
    });
    rig.end();
}
