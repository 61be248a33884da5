CREATE SCHEMA "api";--> statement-breakpoint
CREATE VIEW "api"."dunes:state" AS
SELECT "logged"."size" AS "log_size",
       LEAST("anchored"."size", "logged"."size") AS "anchored_size",
       "settled"."size" AS "settled",
       "c"."head_number" AS "block_number",
       encode("c"."head_hash", 'hex') AS "block_hash",
       "c"."head_time" AS "block_time",
       "c"."final_number" AS "final_number"
FROM "cursor" "c"
CROSS JOIN (SELECT COALESCE((SELECT "size" FROM "log_head"), 0)::bigint AS "size") "logged"
CROSS JOIN (SELECT COALESCE((SELECT max("size") FROM "anchor"
              WHERE "block" <= (SELECT "final_number" FROM "cursor")), 0)::bigint AS "size") "anchored"
CROSS JOIN (SELECT COALESCE((SELECT max("index") + 1 FROM "submission"), 0)::bigint AS "size") "settled";--> statement-breakpoint
CREATE VIEW "api"."dunes:leaf" AS
SELECT "s"."index" AS "leaf_index",
       encode("s"."submission_id", 'hex') AS "submission",
       "s"."settled_block" <= (SELECT "final_number" FROM "cursor") AS "final",
       "s"."verdict",
       "s"."reason"
FROM "submission" "s" WHERE "s"."index" IS NOT NULL;--> statement-breakpoint
CREATE FUNCTION "api"."h3_bits"("cell" text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN "cell" ~ '^0?[0-9a-fA-F]{15}$' THEN ('x' || lpad("cell", 16, '0'))::bit(64)::bigint END;--> statement-breakpoint
COMMENT ON FUNCTION "api"."h3_bits"(text) IS 'The 64 bits of an H3 cell that is spelled in hex; null for what cannot be one';--> statement-breakpoint
CREATE FUNCTION "api"."h3_resolution"("cell" text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (("api"."h3_bits"("cell") >> 52) & 15)::integer;--> statement-breakpoint
COMMENT ON FUNCTION "api"."h3_resolution"(text) IS 'Resolution of an H3 cell, 0 to 15';--> statement-breakpoint
CREATE FUNCTION "api"."h3_parent"("cell" text, "resolution" integer) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN "resolution" BETWEEN 0 AND (("api"."h3_bits"("cell") >> 52) & 15)::integer
            THEN to_hex(("api"."h3_bits"("cell") & ~(15::bigint << 52)) | ("resolution"::bigint << 52)
                        | ((1::bigint << (3 * (15 - "resolution"))) - 1)) END;--> statement-breakpoint
COMMENT ON FUNCTION "api"."h3_parent"(text, integer) IS 'The cell of a coarser or the same resolution that holds an H3 cell; null where there is none';--> statement-breakpoint
CREATE FUNCTION "api"."h3_cell_to_parent"("cell" text, "resolution" integer) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN "api"."h3_parent"("cell", "resolution");