//! The C workers, over the library linked in or over the shared one.

use super::layout::{Shared, Worker};
use super::{Drive, Figures, Role};
use rtm::{RTMX_ABI_NUMBER, RTMX_STATISTICS};
use rtm_core::MemberFigures;
use std::ffi::{CStr, CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One compilation of the C workers.
struct Entry {
    prepare: unsafe extern "C" fn(*const Shared) -> u32,
    register_range: unsafe extern "C" fn(*mut Worker, u32, u32) -> u32,
    reader: unsafe extern "C" fn(*mut Worker),
    churner: unsafe extern "C" fn(*mut Worker),
    enumerator: unsafe extern "C" fn(*mut Worker),
    invoker: unsafe extern "C" fn(*mut Worker),
    host: unsafe extern "C" fn(*mut Worker),
    event_loop: unsafe extern "C" fn(*mut Worker),
    holder: unsafe extern "C" fn(*mut Worker),
    referrer: unsafe extern "C" fn(*mut Worker),
    visitors: unsafe extern "C" fn(*mut Worker),
    housekeeper: unsafe extern "C" fn(*mut Worker),
    finish: unsafe extern "C" fn(*mut Worker, u64),
    statistics: unsafe extern "C" fn(*mut RTMX_STATISTICS),
}

#[link(name = "rtm_load_direct", kind = "static")]
unsafe extern "C" {
    fn load_prepare(shared: *const Shared) -> u32;
    fn load_register_range(worker: *mut Worker, first: u32, last: u32) -> u32;
    fn load_reader(worker: *mut Worker);
    fn load_churner(worker: *mut Worker);
    fn load_enumerator(worker: *mut Worker);
    fn load_invoker(worker: *mut Worker);
    fn load_host(worker: *mut Worker);
    fn load_loop(worker: *mut Worker);
    fn load_holder(worker: *mut Worker);
    fn load_referrer(worker: *mut Worker);
    fn load_visitors(worker: *mut Worker);
    fn load_housekeeper(worker: *mut Worker);
    fn load_finish(worker: *mut Worker, created: u64);
    fn load_statistics(statistics: *mut RTMX_STATISTICS);
}

#[link(name = "rtm_load_table", kind = "static")]
unsafe extern "C" {
    fn load_table_set(functions: *const *mut c_void);
    fn load_table_prepare(shared: *const Shared) -> u32;
    fn load_table_register_range(worker: *mut Worker, first: u32, last: u32) -> u32;
    fn load_table_reader(worker: *mut Worker);
    fn load_table_churner(worker: *mut Worker);
    fn load_table_enumerator(worker: *mut Worker);
    fn load_table_invoker(worker: *mut Worker);
    fn load_table_host(worker: *mut Worker);
    fn load_table_loop(worker: *mut Worker);
    fn load_table_holder(worker: *mut Worker);
    fn load_table_referrer(worker: *mut Worker);
    fn load_table_visitors(worker: *mut Worker);
    fn load_table_housekeeper(worker: *mut Worker);
    fn load_table_finish(worker: *mut Worker, created: u64);
    fn load_table_statistics(statistics: *mut RTMX_STATISTICS);
}

static DIRECT: Entry = Entry {
    prepare: load_prepare,
    register_range: load_register_range,
    reader: load_reader,
    churner: load_churner,
    enumerator: load_enumerator,
    invoker: load_invoker,
    host: load_host,
    event_loop: load_loop,
    holder: load_holder,
    referrer: load_referrer,
    visitors: load_visitors,
    housekeeper: load_housekeeper,
    finish: load_finish,
    statistics: load_statistics,
};

static TABLE: Entry = Entry {
    prepare: load_table_prepare,
    register_range: load_table_register_range,
    reader: load_table_reader,
    churner: load_table_churner,
    enumerator: load_table_enumerator,
    invoker: load_table_invoker,
    host: load_table_host,
    event_loop: load_table_loop,
    holder: load_table_holder,
    referrer: load_table_referrer,
    visitors: load_table_visitors,
    housekeeper: load_table_housekeeper,
    finish: load_table_finish,
    statistics: load_table_statistics,
};

/// In the order of the table in `c/tools.h`.
const SYMBOLS: [&CStr; 38] = [
    c"RtmxRegisterEntity",
    c"RtmDeregisterEntity",
    c"RtmGetRegisteredEntities",
    c"RtmReleaseEntities",
    c"RtmGetEntityInfo",
    c"RtmInvokeMethod",
    c"RtmBlockMethods",
    c"RtmxCreateEventQueue",
    c"RtmxDeleteEventQueue",
    c"RtmxGetEventQueueDescriptor",
    c"RtmxDispatchEvents",
    c"RtmxGetLimits",
    c"RtmxSetLimits",
    c"RtmxEnter",
    c"RtmxLeave",
    c"RtmxQuiescent",
    c"RtmxGetContext",
    c"RtmxGetContexts",
    c"RtmxFlush",
    c"RtmxShutdown",
    c"RtmxGetStatistics",
    c"RtmxErrorText",
    c"RtmxDeregisterEntityLater",
    c"RtmReferenceHandles",
    c"RtmReleaseEntityInfo",
    c"RtmGetEntityMethods",
    c"RtmxCreateReader",
    c"RtmxDeleteReader",
    c"RtmxReaderEnter",
    c"RtmxReaderLeave",
    c"RtmxReaderQuiescent",
    c"RtmxReaderGetContext",
    c"RtmxReaderGetContexts",
    c"RtmxSynchronize",
    c"RtmxGetVersion",
    c"RtmxGetAbiNumber",
    c"RtmxSetLogFunction",
    c"RtmxTrim",
];

impl Entry {
    fn work(&self, role: Role, worker: &mut Worker) {
        let function = match role {
            Role::Reader => self.reader,
            Role::Churner => self.churner,
            Role::Enumerator => self.enumerator,
            Role::Invoker => self.invoker,
            Role::Host => self.host,
            Role::Loop => self.event_loop,
            Role::Holder => self.holder,
            Role::Referrer => self.referrer,
            Role::Visitors => self.visitors,
            Role::Housekeeper => self.housekeeper,
        };
        // SAFETY: the worker and what it points to are laid out as `c/load.h` says.
        unsafe { function(worker) }
    }

    fn figures(&self) -> Figures {
        let mut now = RTMX_STATISTICS::default();
        // SAFETY: a structure of the size that the C code passes.
        unsafe { (self.statistics)(&mut now) };
        Figures {
            live: now.Live,
            retired: now.Retired,
            retired_peak: now.RetiredPeak,
            reclaimed: now.Reclaimed,
            bytes: now.Bytes,
            index_bytes: now.IndexBytes,
            chunks: now.Chunks,
            event_threads: now.EventThreads,
        }
    }
}

/// The library linked into this program.
pub(super) struct Direct;

/// The shared library.
pub(super) struct Table;

impl Table {
    pub(super) fn open(path: Option<&Path>) -> Result<Table, String> {
        let path = path.map_or_else(default_library, Path::to_owned);
        let text = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
        // SAFETY: a path that ends with NUL; the library's constructors are Rust's.
        let library = unsafe { libc::dlopen(text.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            return Err(format!(
                "cannot open {}: build it with `cargo build --release -p rtm-ffi` or name it with \
                 --library",
                path.display()
            ));
        }
        let mut functions = Vec::new();
        for symbol in SYMBOLS {
            // SAFETY: an open library and a name that ends with NUL.
            let function = unsafe { libc::dlsym(library, symbol.as_ptr()) };
            if function.is_null() {
                return Err(format!("{} has no {symbol:?}", path.display()));
            }
            functions.push(function);
        }
        // SAFETY: as many functions as the table has, of the types the header gives.
        unsafe { load_table_set(functions.as_ptr()) };
        Ok(Table)
    }
}

/// The one beside this program, where cargo puts it; else the installed one, which the loader finds.
fn default_library() -> PathBuf {
    let program = std::env::current_exe().ok();
    let beside = program.map(|program| program.with_file_name("librtm.so"));
    beside
        .filter(|path| path.exists())
        .unwrap_or_else(|| format!("librtm.so.{RTMX_ABI_NUMBER}").into())
}

macro_rules! drive {
    ($type:ty, $entry:ident) => {
        impl Drive for $type {
            fn prepare(&self, shared: &Shared) -> Result<(), String> {
                if shared.listeners == 0 {
                    return Ok(());
                }
                // SAFETY: laid out as `c/load.h` says; it outlives the run.
                match unsafe { ($entry.prepare)(shared) } {
                    0 => Ok(()),
                    code => Err(format!("cannot make listeners: code {code}")),
                }
            }

            fn register_range(&self, worker: &mut Worker, first: u32, last: u32) {
                // SAFETY: the worker is laid out as `c/load.h` says.
                unsafe { ($entry.register_range)(worker, first, last) };
            }

            fn work(&self, role: Role, worker: &mut Worker) {
                $entry.work(role, worker);
            }

            fn finish(&self, worker: &mut Worker, created: u64) {
                // SAFETY: as above.
                unsafe { ($entry.finish)(worker, created) };
            }

            fn figures(&self) -> Figures {
                $entry.figures()
            }

            /// Of the library that is linked in; the shared one does not say.
            fn members(&self) -> Vec<MemberFigures> {
                rtm::member_figures()
            }
        }
    };
}

drive!(Direct, DIRECT);
drive!(Table, TABLE);
