CREATE TABLE jobs (
    id bigserial PRIMARY KEY,
    entry bigint NOT NULL REFERENCES entries,
    done_in bigint
);
CREATE INDEX ON jobs (id) WHERE done_in IS NULL;
CREATE TABLE shifts (
    id bigserial PRIMARY KEY,
    release text NOT NULL,
    met_another boolean NOT NULL,
    began timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended timestamptz
);
CREATE TABLE thanks (
    entry bigint NOT NULL REFERENCES entries,
    shift bigint NOT NULL REFERENCES shifts
);
