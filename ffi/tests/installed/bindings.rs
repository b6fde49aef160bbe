//! What bindgen makes of the installed header, used from Rust. Its own layout tests run with `rustc --test`.
#![allow(non_camel_case_types, non_snake_case, non_upper_case_globals, dead_code, deref_nullptr)]

include!(env!("BINDINGS"));

#[test]
fn life_of_an_entity() {
    unsafe {
        assert_eq!(RtmxGetAbiNumber(), RTMX_ABI_NUMBER);
        let mut info: RTM_ENTITY_INFO = std::mem::zeroed();
        info.AddressFamily = 2;
        info.EntityId.__bindgen_anon_1.EntityId = 7;
        let mut profile: RTM_REGN_PROFILE = std::mem::zeroed();
        let mut handle = std::ptr::null_mut();
        let mut register =
            || RtmRegisterEntity(&mut info, std::ptr::null_mut(), None, 0, &mut profile, &mut handle);
        assert_eq!(register(), NO_ERROR);
        assert_eq!(register(), ERROR_ALREADY_EXISTS);
        let mut found: RTM_ENTITY_INFO = std::mem::zeroed();
        assert_eq!(RtmGetEntityInfo(handle, handle, &mut found), NO_ERROR);
        assert_eq!(found.EntityId.__bindgen_anon_1.EntityId, 7);
        assert_eq!(RtmDeregisterEntity(handle), NO_ERROR);
        assert_eq!(RtmDeregisterEntity(handle), ERROR_INVALID_HANDLE);
    }
}
