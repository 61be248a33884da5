-- Every total that Dunes tells, in one place: status, metrics, lists and exports agree because they ask here or are counted against it.
CREATE VIEW "totals" AS
SELECT "p"."pending" + "s"."settled" AS "submitted",
       "p"."pending",
       "s"."settled",
       COALESCE("f"."unfinal", "s"."settled") AS "final",
       "l"."logged",
       LEAST("a"."anchored", "l"."logged") AS "anchored",
       "u"."unjudged",
       GREATEST(0, "s"."settled" - "u"."unjudged" - "r"."rejected")::bigint AS "accepted",
       "r"."rejected",
       "r"."reasons"
FROM (SELECT count(*) AS "pending" FROM "submission" WHERE "index" IS NULL) "p"
CROSS JOIN (SELECT COALESCE((SELECT max("index") + 1 FROM "submission"), 0)::bigint AS "settled") "s"
CROSS JOIN (SELECT min("index") AS "unfinal" FROM (
  -- OFFSET 0 keeps the planner from walking the index of all submissions in search of the first one.
  SELECT "index" FROM "submission" WHERE "settled_block" > COALESCE((SELECT "final_number" FROM "cursor"), -1) OFFSET 0) "u") "f"
CROSS JOIN (SELECT COALESCE((SELECT "size" FROM "log_head"), 0)::bigint AS "logged") "l"
CROSS JOIN (SELECT COALESCE((SELECT max("size") FROM "anchor"
  WHERE "block" <= (SELECT "final_number" FROM "cursor")), 0)::bigint AS "anchored") "a"
CROSS JOIN (SELECT count(*) AS "unjudged" FROM "submission" WHERE "verdict" IS NULL AND "index" IS NOT NULL) "u"
CROSS JOIN (SELECT COALESCE(sum("count"), 0)::bigint AS "rejected",
                   COALESCE(jsonb_object_agg("reason", "count"), '{}'::jsonb) AS "reasons"
  FROM (SELECT "reason", count(*) AS "count" FROM "submission" WHERE "reason" IS NOT NULL GROUP BY "reason") "g") "r";
