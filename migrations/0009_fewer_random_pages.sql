-- What was judged no longer counts against the quota of who sent it: the indexer says so from now on, with the verdict.
UPDATE "payload" SET "contributor" = NULL WHERE "contributor" IS NOT NULL AND EXISTS (
  SELECT FROM "submission" "s" WHERE "s"."payload_sha256" = "payload"."sha256" AND "s"."verdict" IS NOT NULL);
--> statement-breakpoint
DROP INDEX "submission_payload";
--> statement-breakpoint
DROP INDEX "submission_signed";
--> statement-breakpoint
CREATE INDEX "payload_waiting" ON "payload" USING btree ("contributor") WHERE "payload"."contributor" is not null;
--> statement-breakpoint
CREATE INDEX "submission_payload" ON "submission" USING btree ("payload_sha256") WHERE "submission"."signed_sha256" is null;
--> statement-breakpoint
CREATE INDEX "submission_signed" ON "submission" USING btree ("sensor",(("judgement" -> 'read' ->> 'firstTimestamp') collate "C"),"signed_sha256") WHERE "submission"."signed_sha256" is not null;
