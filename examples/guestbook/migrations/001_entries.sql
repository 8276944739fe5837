CREATE TABLE entries (
    id bigserial PRIMARY KEY,
    text text NOT NULL,
    release text NOT NULL
);
