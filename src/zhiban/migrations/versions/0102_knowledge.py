"""Knowledge bases, their sources, articles and chunks, the search index over them, and the gaps."""

from alembic import op

from zhiban.migrations.rules import protect

revision = "0102"
down_revision = "0101"
branch_labels = None
depends_on = None

BASES = """
create table knowledge_base (
  workspace_id bigint not null, id bigint generated always as identity,
  slug text not null, name text not null,
  bodies bigint not null default 0, body_terms bigint not null default 0,
  body_pivot double precision not null default 0,
  phrasings bigint not null default 0, phrasing_terms bigint not null default 0,
  phrasing_pivot double precision not null default 0,
  parts smallint not null default 0, recipe integer not null default 0, answer_at double precision,
  answer_at_with_vectors double precision,
  calibration jsonb not null default '{}', calibrated_at timestamptz, wanted_synonyms jsonb,
  created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
  constraint pk_knowledge_base primary key (workspace_id, id),
  constraint uq_knowledge_base_slug unique (workspace_id, slug));

create table synonym_group (
  workspace_id bigint not null, id bigint generated always as identity, base_id bigint not null,
  words text[] not null,
  constraint pk_synonym_group primary key (workspace_id, id),
  constraint fk_synonym_group_base_id foreign key (workspace_id, base_id) references knowledge_base on delete cascade);
create index ix_synonym_group_base_id on synonym_group (workspace_id, base_id);
"""

ARTICLES = """
create table source (
  workspace_id bigint not null, id bigint generated always as identity, base_id bigint not null,
  name text not null, folder text not null, folder_path text not null,
  kind text not null, category text, digest bytea not null, converter integer not null,
  imported_at timestamptz not null default now(),
  constraint pk_source primary key (workspace_id, id),
  constraint uq_source_name unique (workspace_id, base_id, name),
  constraint fk_source_base_id foreign key (workspace_id, base_id) references knowledge_base on delete cascade);
create index ix_source_digest on source (workspace_id, base_id, digest);

create table knowledge_import (
  workspace_id bigint not null, id bigint generated always as identity, base_id bigint not null,
  status text not null default 'waiting', files jsonb not null, refused jsonb not null default '[]',
  progress jsonb, removal jsonb, confirmed boolean not null default false, report jsonb, failure text,
  agent_id bigint, created_at timestamptz not null, finished_at timestamptz,
  constraint pk_knowledge_import primary key (workspace_id, id),
  constraint ck_knowledge_import_status check (
    status in ('waiting', 'running', 'asking', 'done', 'failed', 'cancelled')),
  constraint fk_knowledge_import_base_id foreign key (workspace_id, base_id) references knowledge_base
    on delete cascade,
  constraint fk_knowledge_import_agent_id foreign key (workspace_id, agent_id) references agent
    on delete set null (agent_id));
create index ix_knowledge_import_base_id on knowledge_import (workspace_id, base_id, id);

create table article (
  workspace_id bigint not null, id bigint generated always as identity, base_id bigint not null, source_id bigint,
  kind text not null, key text not null, title text not null, answer text, category text, digest bytea not null,
  saved_from text not null, actor_kind text, actor_id bigint, actor_ref text,
  created_at timestamptz not null default now(), updated_at timestamptz not null default now(),
  constraint pk_article primary key (workspace_id, id),
  constraint ck_article_kind check (kind in ('faq', 'document')),
  constraint ck_article_saved_from check (saved_from in ('editor', 'import', 'gap', 'reply', 'restored')),
  constraint fk_article_base_id foreign key (workspace_id, base_id) references knowledge_base on delete cascade,
  constraint fk_article_source_id foreign key (workspace_id, source_id) references source on delete cascade);
create index ix_article_base_id on article (workspace_id, base_id, id);
create index ix_article_source_id on article (workspace_id, source_id);

create table phrasing (
  workspace_id bigint not null, id bigint generated always as identity, article_id bigint not null,
  text text not null, origin text not null, indexed boolean not null default true,
  retired boolean not null default false,
  created_at timestamptz not null default now(),
  constraint pk_phrasing primary key (workspace_id, id),
  constraint ck_phrasing_origin check (origin in ('question', 'similar', 'agent', 'click')),
  constraint fk_phrasing_article_id foreign key (workspace_id, article_id) references article on delete cascade);
create index ix_phrasing_article_id on phrasing (workspace_id, article_id);
create index ix_phrasing_waiting on phrasing (workspace_id, article_id) where not indexed or retired;

create table chunk (
  workspace_id bigint not null, id bigint generated always as identity, base_id bigint not null,
  article_id bigint not null, ordinal integer not null, text text not null, heading_path text[] not null,
  unit text not null, number integer not null, digest bytea not null,
  constraint pk_chunk primary key (workspace_id, id),
  constraint fk_chunk_article_id foreign key (workspace_id, article_id) references article on delete cascade);
create index ix_chunk_article_id on chunk (workspace_id, article_id);
create index ix_chunk_base_id on chunk (workspace_id, base_id, id);
"""

# Each as it stood until the next save; what it says now is the article itself.
VERSIONS = """
create table article_version (
  workspace_id bigint not null, id bigint generated always as identity, article_id bigint not null,
  title text not null, answer text not null, category text, similar_questions text[] not null,
  saved_from text not null, file text, actor_kind text, actor_id bigint, actor_ref text, saved_at timestamptz not null,
  constraint pk_article_version primary key (workspace_id, id),
  constraint fk_article_version_article_id foreign key (workspace_id, article_id) references article
    on delete cascade);
create index ix_article_version_article_id on article_version (workspace_id, article_id, id);
"""

# A reply is in the knowledge once: as the answer of an entry, or because its question was taught to one.
KEPT = """
create table kept_reply (
  workspace_id bigint not null, message_id bigint not null, article_id bigint not null,
  agent_id bigint, kept_at timestamptz not null,
  constraint pk_kept_reply primary key (workspace_id, message_id),
  constraint fk_kept_reply_message_id foreign key (workspace_id, message_id) references message on delete cascade,
  constraint fk_kept_reply_article_id foreign key (workspace_id, article_id) references article on delete cascade,
  constraint fk_kept_reply_agent_id foreign key (workspace_id, agent_id) references agent
    on delete set null (agent_id));
create index ix_kept_reply_article_id on kept_reply (workspace_id, article_id);
"""

# What a search reads, apart from the texts. `keys` are the terms of the body, mixed with the base's id so that
# one index serves every base without wading through the others. `term_df` has no foreign key, whose check per
# row would double the time of an import; removing a base removes its counts. The vectors stay in their row as
# long as they fit a page; what is moved out first are the keys, which only the index reads.
INDEX = """
create table chunk_index (
  workspace_id bigint not null, chunk_id bigint not null, base_id bigint not null,
  keys integer[] not null, body sparsevec not null, phrasings sparsevec[] not null,
  body_length integer not null, phrasing_lengths integer[] not null,
  constraint pk_chunk_index primary key (workspace_id, chunk_id),
  constraint fk_chunk_index_chunk_id foreign key (workspace_id, chunk_id) references chunk on delete cascade);
alter table chunk_index alter column keys set storage external;
alter table chunk_index alter column body set storage main;
alter table chunk_index alter column phrasings set storage main;
alter table chunk_index alter column keys set statistics 0;
alter table chunk_index alter column body set statistics 0;
alter table chunk_index alter column phrasings set statistics 0;
alter table chunk_index set (toast_tuple_target = 8160);
create index ix_chunk_index_base_id on chunk_index (base_id);
create index ix_chunk_index_keys on chunk_index using gin (keys) with (fastupdate = on);

create table term_df (
  workspace_id bigint not null, base_id bigint not null, part smallint not null, term integer not null,
  bodies integer not null, phrasings integer not null,
  constraint pk_term_df primary key (workspace_id, base_id, part, term)) with (fillfactor = 80);
"""

# The vectors of one embedder for one base. While a base moves to another embedder it has two sets, and the old one
# serves. No foreign key leads to `phrasing_vector`, and none from there: building an index over a set locks out every
# writer, and only the job that embeds may have to wait for that. It also removes what is left over.
VECTORS = """
create table vector_set (
  workspace_id bigint not null, id bigint generated always as identity, base_id bigint not null,
  embedder text not null, dimensions integer not null, serving boolean not null default false,
  created_at timestamptz not null default now(),
  constraint pk_vector_set primary key (workspace_id, id),
  constraint uq_vector_set_embedder unique (workspace_id, base_id, embedder),
  constraint ck_vector_set_dimensions check (dimensions between 1 and 4000),
  constraint fk_vector_set_base_id foreign key (workspace_id, base_id) references knowledge_base on delete cascade);
create unique index uq_vector_set_serving on vector_set (workspace_id, base_id) where serving;

create table phrasing_vector (
  workspace_id bigint not null, set_id bigint not null, article_id bigint not null, phrasing_id bigint not null,
  vector halfvec not null,
  constraint pk_phrasing_vector primary key (workspace_id, set_id, article_id, phrasing_id));
alter table phrasing_vector alter column vector set storage external;
alter table phrasing_vector set (toast_tuple_target = 8160);
"""

# What people say about whether an article answers a wording. Wordings of one article that ask the same are one
# candidate; a person has one voice in each. Only a candidate that is active has a phrasing, which searches see.
EVIDENCE = """
create table phrasing_candidate (
  workspace_id bigint not null, id bigint generated always as identity, base_id bigint not null,
  article_id bigint not null, text text not null, terms integer[] not null, status text not null default 'waiting',
  phrasing_id bigint, answered_by bigint,
  approved_at timestamptz, decided_by_kind text, decided_by bigint, decided_by_name text, decided_at timestamptz,
  created_at timestamptz not null,
  constraint pk_phrasing_candidate primary key (workspace_id, id),
  constraint ck_phrasing_candidate_status check (status in ('waiting', 'known', 'active', 'rejected')),
  constraint fk_phrasing_candidate_base_id foreign key (workspace_id, base_id) references knowledge_base
    on delete cascade,
  constraint fk_phrasing_candidate_article_id foreign key (workspace_id, article_id) references article
    on delete cascade,
  constraint fk_phrasing_candidate_answered_by foreign key (workspace_id, answered_by) references article
    on delete set null (answered_by),
  constraint fk_phrasing_candidate_phrasing_id foreign key (workspace_id, phrasing_id) references phrasing
    on delete set null (phrasing_id));
create index ix_phrasing_candidate_base_id on phrasing_candidate (workspace_id, base_id, id);
create index ix_phrasing_candidate_article_id on phrasing_candidate (workspace_id, article_id, id);
create index ix_phrasing_candidate_answered_by on phrasing_candidate (workspace_id, answered_by)
  where answered_by is not null;
create index ix_phrasing_candidate_phrasing_id on phrasing_candidate (workspace_id, phrasing_id)
  where phrasing_id is not null;

create table phrasing_evidence (
  workspace_id bigint not null, id bigint generated always as identity, candidate_id bigint not null,
  kind text not null, supports boolean not null, contact_id bigint, agent_id bigint,
  wording text not null, conversation_id bigint, at timestamptz not null,
  constraint pk_phrasing_evidence primary key (workspace_id, id),
  constraint ck_phrasing_evidence_kind check (kind in ('tap', 'helpful', 'unhelpful', 'adopted', 'confirmed')),
  constraint ck_phrasing_evidence_person check (num_nonnulls(contact_id, agent_id) > 0),
  constraint uq_phrasing_evidence_contact_id unique (workspace_id, candidate_id, contact_id),
  constraint uq_phrasing_evidence_agent_id unique (workspace_id, candidate_id, agent_id),
  constraint fk_phrasing_evidence_candidate_id foreign key (workspace_id, candidate_id)
    references phrasing_candidate on delete cascade,
  constraint fk_phrasing_evidence_contact_id foreign key (workspace_id, contact_id) references contact
    on delete cascade,
  constraint fk_phrasing_evidence_agent_id foreign key (workspace_id, agent_id) references agent on delete cascade);
create index ix_phrasing_evidence_contact_id on phrasing_evidence (workspace_id, contact_id, at)
  where contact_id is not null;
"""

# `vector` of a gap is the mean of its wordings' vectors, so that its product with a question's is the mean cosine to
# all of them. `follows` is an earlier gap that was answered and is asked again.
GAPS = """
create table gap (
  workspace_id bigint not null, id bigint generated always as identity,
  question text not null, times integer not null default 0, contacts integer not null default 0,
  status text not null default 'open', article_id bigint, merged_into bigint, follows bigint,
  vector halfvec, embedder text,
  first_at timestamptz not null, last_at timestamptz not null, closed_at timestamptz,
  constraint pk_gap primary key (workspace_id, id),
  constraint ck_gap_status check (status in ('open', 'answered', 'dismissed', 'merged')),
  constraint fk_gap_merged_into foreign key (workspace_id, merged_into) references gap,
  constraint fk_gap_follows foreign key (workspace_id, follows) references gap,
  constraint fk_gap_article_id foreign key (workspace_id, article_id) references article
    on delete set null (article_id));
create index ix_gap_last_at on gap (workspace_id, status, last_at);

create table gap_question (
  workspace_id bigint not null, id bigint generated always as identity, gap_id bigint not null,
  text text not null, terms integer[] not null, origin text not null,
  conversation_id bigint, contact_id bigint, message_id bigint, asked_at timestamptz not null,
  vector halfvec, embedder text,
  constraint pk_gap_question primary key (workspace_id, id),
  constraint uq_gap_question_message_id unique (workspace_id, message_id, text),
  constraint ck_gap_question_origin check (origin in ('no_answer', 'menu', 'asked', 'complaint')),
  constraint fk_gap_question_gap_id foreign key (workspace_id, gap_id) references gap on delete cascade);
create index ix_gap_question_gap_id on gap_question (workspace_id, gap_id);
create index ix_gap_question_text on gap_question (workspace_id, text);
"""

# Row-level security applies inside these functions as it does outside. `scan_chunks` compares a whole base;
# `search_chunks` only the chunks that have one of the keys, and has no choice but to use their index: comparing
# arrays row by row is slow, and a planner that guesses (a base just imported has no statistics) would do it.
# Hence `+ 0` here and in the policy. Few phrasings are compared one by one: a subquery for each row would cost more
# than all comparisons.
SEARCH = """
create function scan_chunks(
    base bigint, body_question sparsevec, phrasing_question sparsevec, leave_out bigint, wanted integer)
  returns table (chunk_id bigint, score double precision, body_score double precision, phrasing_score double precision)
  language sql stable set enable_seqscan = off as $$
    select found.chunk_id, found.body_score + coalesce(found.phrasing_score, found.body_score),
           found.body_score, found.phrasing_score
      from (select i.chunk_id, -(i.body <#> body_question) as body_score,
                   case when cardinality(i.phrasings) <= 3
                     then greatest(-(i.phrasings[1] <#> phrasing_question), -(i.phrasings[2] <#> phrasing_question),
                                   -(i.phrasings[3] <#> phrasing_question))
                     else (select max(-(one <#> phrasing_question)) from unnest(i.phrasings) as one) end
                     as phrasing_score
              from chunk_index i
             where i.base_id = base and i.chunk_id <> leave_out
            offset 0) as found
     where found.body_score > 0
     order by 2 desc, 1
     limit wanted $$;

create function search_chunks(
    base bigint, wanted_keys integer[], body_question sparsevec, phrasing_question sparsevec, leave_out bigint,
    wanted integer)
  returns table (chunk_id bigint, score double precision, body_score double precision, phrasing_score double precision)
  language sql stable set enable_seqscan = off as $$
    select found.chunk_id, found.body_score + coalesce(found.phrasing_score, found.body_score),
           found.body_score, found.phrasing_score
      from (select i.chunk_id, -(i.body <#> body_question) as body_score,
                   case when cardinality(i.phrasings) <= 3
                     then greatest(-(i.phrasings[1] <#> phrasing_question), -(i.phrasings[2] <#> phrasing_question),
                                   -(i.phrasings[3] <#> phrasing_question))
                     else (select max(-(one <#> phrasing_question)) from unnest(i.phrasings) as one) end
                     as phrasing_score
              from chunk_index i
             where i.base_id + 0 = base and i.keys && wanted_keys and i.chunk_id <> leave_out
            offset 0) as found
     order by 2 desc, 1
     limit wanted $$;

-- After a large import the planner's picture of the tables is a minute old, which costs searches tenfold; and keys that
-- wait to be sorted into their index slow it down. Only the owner may mend both.
create function tidy_knowledge() returns void language plpgsql security definer set search_path = public, pg_temp
as $$ begin
  perform gin_clean_pending_list('ix_chunk_index_keys');
  analyze chunk_index, chunk, article, phrasing, source, term_df, phrasing_vector;
end $$;

-- Each large set has an index of its own, so that no set is searched through another's. Its lists are as many as fit
-- the vectors there are now. Only the owner may make it.
create function index_vectors(wanted bigint) returns void language plpgsql security definer
set search_path = public, pg_temp set maintenance_work_mem = '256MB' as $$
declare dims integer; lists integer;
begin
  perform forget_vector_index(wanted);
  select dimensions into dims from vector_set where id = wanted;
  select round(sqrt(count(*))) into lists from phrasing_vector where set_id = wanted;
  execute format('create index ix_phrasing_vector_%s on phrasing_vector using ivfflat ((vector::halfvec(%s)) '
                 'halfvec_ip_ops) with (lists = %s) where set_id = %s', wanted, dims, greatest(lists, 1), wanted);
end $$;

create function forget_vector_index(wanted bigint) returns void language plpgsql security definer
set search_path = public, pg_temp as $$
begin
  if not exists (select from vector_set where id = wanted) then
    raise exception 'there is no vector set %', wanted;
  end if;
  execute format('drop index if exists ix_phrasing_vector_%s', wanted);
end $$;

-- 0 when the set has no index.
create function vector_lists(wanted bigint) returns integer language sql stable as $$
  select coalesce(max(substring(array_to_string(reloptions, ',') from 'lists=([0-9]+)')::integer), 0)
    from pg_class where oid = to_regclass('ix_phrasing_vector_' || wanted) $$;
"""

POLICY = """
alter policy workspace on chunk_index
  using (workspace_id + 0 = (select app_workspace())) with check (workspace_id = (select app_workspace()));
"""

# The base that answers in an inbox; the default one where it names none.
INBOXES = """
alter table inbox add constraint fk_inbox_base_id foreign key (workspace_id, base_id) references knowledge_base
  on delete set null (base_id);
"""

TABLES = [
    "knowledge_base",
    "synonym_group",
    "source",
    "knowledge_import",
    "article",
    "article_version",
    "kept_reply",
    "phrasing",
    "chunk",
    "chunk_index",
    "term_df",
    "vector_set",
    "phrasing_vector",
    "phrasing_candidate",
    "phrasing_evidence",
    "gap",
    "gap_question",
]


def upgrade() -> None:
    for ddl in (BASES, INBOXES, ARTICLES, VERSIONS, KEPT, INDEX, VECTORS, EVIDENCE, GAPS, SEARCH):
        op.execute(ddl)
    protect(*TABLES)
    op.execute(POLICY)
