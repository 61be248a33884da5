ALTER TABLE "attestation" DROP CONSTRAINT "attestation_submission_submission_id_fk";
--> statement-breakpoint
ALTER TABLE "attestation" DROP CONSTRAINT "attestation_validator_contributor_id_fk";
--> statement-breakpoint
ALTER TABLE "submission" DROP CONSTRAINT "submission_contributor_contributor_id_fk";
--> statement-breakpoint
ALTER TABLE "submission" DROP CONSTRAINT "submission_sensor_sensor_id_fk";
--> statement-breakpoint
ALTER TABLE "submission" DROP CONSTRAINT "submission_dataset_dataset_id_fk";
--> statement-breakpoint
DO $$ DECLARE "c" record; BEGIN
  FOR "c" IN SELECT "conrelid"::regclass AS "table", "conname" FROM "pg_constraint"
    WHERE "contype" = 'f' AND "confrelid" = 'submission'::regclass AND "conrelid"::regclass::text ~ '^"?reading_'
  LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', "c"."table", "c"."conname"); END LOOP;
END $$;
--> statement-breakpoint
-- Signatures in hex shrink by half at most, and compressing them costs more than all the rest of storing a payload.
ALTER TABLE "payload" ALTER COLUMN "bytes" SET STORAGE EXTERNAL;
