"""The 84 inputs of `docs/explain/hostile-inputs.md`: where each is tested, or why it is not a test of ours here.

A reference is `file::function`, relative to `tests/`; `test_wecom_hostile.py` checks that it exists, and that this
table and the page say the same.
"""

from __future__ import annotations

CRYPTO = "integrations/wecom/test_wecom_crypto.py::"
CALLBACK = "integrations/wecom/test_wecom_callback.py::"
XML = "integrations/wecom/test_wecom_xml.py::"
API = "integrations/wecom/test_wecom_api.py::"
KF = "integrations/wecom/test_wecom_kf.py::"
REPEATS = "integrations/wecom/test_wecom_repeats.py::"
READING = "integrations/wecom/test_wecom_reading.py::"
CONTACTS = "integrations/wecom/test_wecom_contacts.py::"
ROBOT = "integrations/wecom/test_wecom_robot.py::"
HTTP = "kit/test_http.py::"
TEXT = "kit/test_text.py::"
SIMULATOR = "testing/test_wecom_simulator.py::"
DOOR = "channels/test_delivery_store.py::"
PROXIES = "channels/test_proxies.py::"
TOKENS = "channels/test_tokens.py::"
STORIES = "stories/"
FILES = STORIES + "test_files.py::"
FILE_TYPES = "kit/test_file_types.py::"
HOSTILE = STORIES + "test_hostile.py::"
TURN = "decided by the conversation and the assistant; WeCom's part is only to say what happened"

TABLE: dict[int, tuple[str, ...]] = {
    1: (CALLBACK + "test_hostile_01_no_query", DOOR + "test_hostile_01_no_query_at_the_door"),
    2: (CALLBACK + "test_hostile_02_echo_without_signature", DOOR + "test_hostile_02_03_04_parameters_at_the_door"),
    3: (CALLBACK + "test_hostile_03_repeated_parameters", DOOR + "test_hostile_02_03_04_parameters_at_the_door"),
    4: (
        CALLBACK + "test_hostile_04_unknown_parameters_are_ignored",
        DOOR + "test_hostile_02_03_04_parameters_at_the_door",
    ),
    5: (DOOR + "test_hostile_05_other_methods",),
    6: (CALLBACK + "test_hostile_06_empty_body", DOOR + "test_hostile_06_an_empty_body_at_the_door"),
    7: (DOOR + "test_hostile_07_the_type_says_nothing",),
    8: (CALLBACK + "test_hostile_08_a_body_over_the_cap", DOOR + "test_hostile_08_too_large_bodies"),
    9: (DOOR + "test_hostile_09_a_body_that_does_not_come",),
    10: (DOOR + "test_hostile_10_no_encodings", HTTP + "test_hostile_10_a_packed_bomb_stops_at_the_limit"),
    11: (DOOR + "test_hostile_11_a_length_that_lies",),
    12: (
        CALLBACK + "test_hostile_12_byte_order_mark_and_blanks",
        XML + "test_hostile_12_a_byte_order_mark_or_blanks_first",
        DOOR + "test_hostile_12_13_marks_blanks_and_other_encodings",
    ),
    13: (
        CALLBACK + "test_hostile_13_34_38_not_the_envelope",
        XML + "test_hostile_13_other_encodings_and_no_xml",
        DOOR + "test_hostile_12_13_marks_blanks_and_other_encodings",
    ),
    14: (CALLBACK + "test_hostile_14_endless_parameters", DOOR + "test_hostile_14_endless_queries"),
    15: (DOOR + "test_hostile_15_unknown_addresses_look_the_same",),
    16: (CRYPTO + "test_hostile_16_wrong_signature", DOOR + "test_hostile_16_to_20_what_is_not_signed"),
    17: (CRYPTO + "test_hostile_17_upper_case_signature_is_refused", DOOR + "test_hostile_16_to_20_what_is_not_signed"),
    18: (CRYPTO + "test_hostile_18_signature_with_a_tail", DOOR + "test_hostile_16_to_20_what_is_not_signed"),
    19: (CRYPTO + "test_hostile_19_letters_beyond_ascii", DOOR + "test_hostile_16_to_20_what_is_not_signed"),
    20: (CALLBACK + "test_hostile_20_impossible_timestamps", DOOR + "test_hostile_16_to_20_what_is_not_signed"),
    21: (
        CALLBACK + "test_hostile_21_a_repeat_has_the_same_digest",
        DOOR + "test_hostile_21_55_a_repeat_is_acknowledged_and_stored_once",
    ),
    22: (
        CALLBACK + "test_hostile_22_a_repeat_after_the_window",
        DOOR + "test_hostile_22_23_83_old_calls_and_wrong_clocks",
        CALLBACK + "test_hostile_22_83_the_window_can_be_switched_off",
    ),
    23: (
        CALLBACK + "test_hostile_23_a_clock_ten_minutes_off",
        DOOR + "test_hostile_22_23_83_old_calls_and_wrong_clocks",
    ),
    24: (CRYPTO + "test_hostile_24_another_integrations_token", DOOR + "test_hostile_24_another_connections_token"),
    25: (
        CRYPTO + "test_hostile_25_the_former_pair_works_until_its_grace_ends",
        CALLBACK + "test_hostile_25_the_former_key_in_grace",
        DOOR + "test_hostile_25_the_former_key_has_a_grace_time",
    ),
    26: (CRYPTO + "test_hostile_26_only_blanks_are_repaired", CRYPTO + "test_hostile_vector_is_refused"),
    27: (CALLBACK + "test_hostile_27_not_exactly_one_encrypt",),
    28: (CRYPTO + "test_hostile_28_blocks_are_missing", CRYPTO + "test_hostile_vector_is_refused"),
    29: (
        CRYPTO + "test_hostile_29_impossible_padding",
        CRYPTO + "test_hostile_29_padding_longer_than_the_text",
        CRYPTO + "test_hostile_vector_is_refused",
    ),
    30: (
        CRYPTO + "test_hostile_30_impossible_length",
        CRYPTO + "test_hostile_30_a_length_that_swallows_the_receiver",
        CRYPTO + "test_hostile_vector_is_refused",
    ),
    31: (CRYPTO + "test_hostile_31_another_receiver",),
    32: (CALLBACK + "test_hostile_32_bytes_that_are_no_text",),
    33: (CRYPTO + "test_hostile_33_a_megabyte_of_zeros",),
    34: (
        XML + "test_hostile_34_no_document_type_and_no_entity",
        XML + "test_hostile_34_xinclude_is_only_an_element",
        CALLBACK + "test_hostile_13_34_38_not_the_envelope",
        CALLBACK + "test_hostile_34_37_38_genuine_but_unreadable_is_parked",
    ),
    35: (XML + "test_hostile_35_depth_width_and_size_are_capped",),
    36: (XML + "test_hostile_36_values_are_put_together",),
    37: (
        XML + "test_hostile_37_characters_that_xml_forbids",
        DOOR + "test_hostile_37_genuine_but_unreadable_is_parked_at_the_door",
        CALLBACK + "test_hostile_34_37_38_genuine_but_unreadable_is_parked",
    ),
    38: (
        CALLBACK + "test_hostile_13_34_38_not_the_envelope",
        CALLBACK + "test_hostile_34_37_38_genuine_but_unreadable_is_parked",
    ),
    39: (READING + "test_hostile_39_other_documents_are_noted", READING + "test_hostile_39_empty_documents"),
    40: (READING + "test_hostile_40_66_any_timestamp",),
    41: (READING + "test_hostile_41_42_odd_messages_to_the_app",),
    42: (READING + "test_hostile_41_42_odd_messages_to_the_app",),
    43: (XML + "test_hostile_43_repeated_nodes_are_lists", READING + "test_hostile_43_accounts_are_listed"),
    44: (CALLBACK + "test_hostile_44_only_the_inner_document_counts",),
    45: (
        TEXT + "test_hostile_45_what_a_reader_sees_as_one_stays_one",
        TEXT + "test_hostile_45_what_the_database_refuses_is_dropped",
        READING + "test_hostile_45_nothing_the_database_refuses_comes_through",
    ),
    46: (TEXT + "test_hostile_46_the_limit_itself",),
    47: (TEXT + "test_hostile_47_a_megabyte_of_one_emoji_is_split_in_time", f"capping for the model: {TURN}"),
    48: (READING + "test_hostile_48_66_odd_fields_still_make_a_message", f"no answer to nothing: {TURN}"),
    49: (
        HOSTILE + "test_hostile_49_code_in_messages_and_names_is_shown_as_letters",
        ROBOT + "test_hostile_49_50_what_contacts_write_mentions_nobody",
    ),
    50: (
        ROBOT + "test_hostile_49_50_what_contacts_write_mentions_nobody",
        STORIES + "test_thinking.py::test_what_a_contact_writes_reaches_the_model_only_as_data",
    ),
    51: (XML + "test_hostile_51_any_text_survives_being_written",),
    52: (
        HTTP + "test_hostile_52_private_addresses",
        HTTP + "test_hostile_52_an_address_of_this_machine_is_not_fetched",
        HTTP + "test_hostile_52_only_web_addresses",
        HTTP + "test_hostile_52_a_name_that_leads_inside",
        HTTP + "test_hostile_52_a_redirect_that_leads_inside",
    ),
    53: (
        API + "test_hostile_53_any_filename_becomes_harmless",
        FILES + "test_a_file_keeps_its_name_and_comes_back_as_it_was",
        FILE_TYPES + "test_a_name_is_kept_as_far_as_it_is_harmless",
        FILE_TYPES + "test_every_name_can_be_kept",
    ),
    54: (
        API + "test_a_file_over_the_callers_limit",
        FILES + "test_what_is_no_picture_is_never_shown_as_one",
        FILES + "test_a_picture_too_large_for_a_browser_is_offered_as_a_file",
        FILES + "test_a_file_that_cannot_be_kept_says_why",
        FILES + "test_a_voice_that_cannot_be_heard_says_why_and_can_be_downloaded",
        FILE_TYPES + "test_the_first_bytes_tell_the_type",
        FILE_TYPES + "test_bytes_outweigh_claims",
    ),
    55: (
        SIMULATOR + "test_hostile_55_a_failing_address_is_asked_three_times",
        DOOR + "test_hostile_21_55_a_repeat_is_acknowledged_and_stored_once",
        DOOR + "test_hostile_55_three_processes_one_effect",
        HOSTILE + "test_hostile_55_a_callback_in_three_copies_has_one_effect",
        STORIES + "test_many_processes.py::test_workers_share_the_work_and_inherit_from_the_dead",
    ),
    56: (
        CALLBACK + "test_hostile_56_two_events_of_one_second_differ",
        DOOR + "test_hostile_56_two_events_of_one_second",
    ),
    57: (
        CONTACTS + "test_hostile_57_everything_can_be_read_again",
        STORIES + "test_members.py::test_a_parting_that_overtakes_the_beginning_is_kept",
    ),
    58: (
        READING + "test_hostile_58_member_lists_and_versions_are_kept",
        HOSTILE + "test_hostile_58_a_groups_change_is_kept_whole_with_both_versions",
    ),
    59: (
        KF + "test_hostile_59_a_burst_is_one_pull",
        DOOR + "test_hostile_59_a_thousand_doorbells_at_once",
        HOSTILE + "test_hostile_59_a_thousand_doorbells_are_few_pulls",
        HOSTILE + "test_hostile_59_many_accounts_at_once_are_all_pulled",
    ),
    60: (KF + "test_hostile_60_a_stale_token_is_dropped",),
    61: (KF + "test_hostile_61_an_account_that_is_gone",),
    62: (STORIES + "test_nothing_lost.py::test_five_hundred_messages_through_four_kills",),
    63: (
        "workers/test_account_poller.py::test_hostile_63_two_processes_and_one_cursor",
        "workers/test_account_poller.py::test_a_page_that_another_process_took_in_is_left_to_it",
        STORIES + "test_sweeping.py::test_the_pull_of_a_killed_process_is_taken_over",
    ),
    64: (
        KF + "test_hostile_64_an_old_cursor_starts_at_the_oldest_of_three_days",
        STORIES + "test_ages.py::test_a_day_old_backup_answers_nobody_again",
    ),
    65: (KF + "test_hostile_65_66_odd_pages", CONTACTS + "test_hostile_65_a_reading_that_never_ends"),
    66: (
        KF + "test_hostile_65_66_odd_pages",
        KF + "test_hostile_66_the_same_message_twice_keeps_its_id",
        READING + "test_hostile_40_66_any_timestamp",
        READING + "test_hostile_48_66_odd_fields_still_make_a_message",
        READING + "test_hostile_66_messages_nobody_can_place_are_noted",
        READING + "test_hostile_66_a_place_that_is_nowhere_keeps_its_name",
        READING + "test_hostile_66_a_message_of_unknown_origin_is_the_contacts",
        READING + "test_hostile_66_a_servicer_is_known_by_name_whatever_the_origin",
        HOSTILE + "test_hostile_66_what_wecom_may_return_is_stored_once_and_answered",
        HOSTILE + "test_hostile_66_pages_out_of_order_lose_and_repeat_nothing",
    ),
    67: (READING + "test_hostile_67_forwarded_history_without_end",),
    68: (
        API + "test_hostile_68_no_object_is_an_unknown_outcome",
        API + "test_hostile_68_a_gateway_in_between",
        API + "test_hostile_68_a_connection_that_breaks_off",
        API + "test_hostile_68_odd_error_codes",
        REPEATS + "test_hostile_68_an_unknown_outcome_repeated_is_one_message",
        HTTP + "test_hostile_68_broken_answers_leave_it_open",
        HTTP + "test_a_request_may_be_done_when_the_answer_is_too_slow",
    ),
    69: (
        API + "test_hostile_69_a_token_that_never_counts_stops_after_one_retry",
        TOKENS + "test_a_token_is_thrown_away_by_its_own_value_only",
    ),
    70: (
        API + "test_hostile_70_busy_is_asked_three_times",
        API + "test_hostile_70_too_often_blocks_this_class_of_calls",
        API + "test_hostile_70_an_untrusted_address_is_named",
    ),
    71: (
        API + "test_hostile_71_any_life_span_of_a_token",
        API + "test_hostile_71_a_token_without_life_span_works",
    ),
    72: (API + "test_hostile_72_a_json_file_is_a_file_and_a_json_error_is_an_error",),
    73: (
        KF + "test_hostile_73_accepted_is_not_delivered",
        STORIES + "test_sessions.py::test_a_failure_told_before_the_answer_to_our_call_stays",
    ),
    74: (
        KF + "test_everything_a_contact_and_a_servicer_can_do_is_read",
        STORIES + "test_thinking.py::test_a_question_taken_back_while_the_model_thinks_is_not_answered",
    ),
    75: (
        KF + "test_everything_a_contact_and_a_servicer_can_do_is_read",
        STORIES + "test_thinking.py::test_nothing_is_said_over_a_servicer_who_answers_in_wecom_meanwhile",
    ),
    76: (
        KF + "test_hostile_76_one_welcome_within_twenty_seconds",
        CONTACTS + "test_a_welcome_that_is_too_late",
        CONTACTS + "test_a_new_contact_is_welcomed_once",
    ),
    77: (KF + "test_hostile_77_a_person_took_it_meanwhile",),
    78: (STORIES + "test_thinking.py::test_thirty_messages_in_a_burst_get_few_answers_within_the_allowance",),
    79: (DOOR + "test_hostile_79_two_apps_of_one_corp_hear_the_same_event",),
    80: (
        API + "test_hostile_80_no_secret_in_errors_or_logs",
        HTTP + "test_hostile_80_no_secret_in_any_error",
        DOOR + "test_hostile_80_nothing_secret_is_logged",
    ),
    81: (
        STORIES + "test_stopping.py::test_hostile_81_a_turn_that_would_take_too_long_is_left_to_the_next_process",
        STORIES + "test_stopping.py::test_hostile_81_a_turn_that_ends_soon_is_waited_for",
    ),
    82: (DOOR + "test_hostile_82_without_the_database_the_vendor_is_told",),
    83: (
        "time limits of tokens and blocks count monotonic seconds, handed in as `monotonic`",
        API + "test_a_token_grows_old",
        CALLBACK + "test_hostile_22_83_the_window_can_be_switched_off",
        DOOR + "test_hostile_22_23_83_old_calls_and_wrong_clocks",
    ),
    84: (
        PROXIES + "test_hostile_84_a_proxy_that_drops_the_query_is_named_in_the_log",
        PROXIES + "test_hostile_84_a_proxy_that_decodes_the_query_does_no_harm",
        PROXIES + "test_hostile_84_a_machine_with_ipv6_only_is_served",
        CALLBACK + "test_the_published_verification_is_answered",
    ),
}
