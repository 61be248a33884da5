CREATE FUNCTION "api"."repeat"("string" text, "number" integer) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
  IF length("string")::bigint * "number" > 10000 THEN
    RAISE program_limit_exceeded USING MESSAGE = 'repeat would give more than 10000 characters';
  END IF;
  RETURN pg_catalog.repeat("string", "number");
END $$;--> statement-breakpoint
CREATE FUNCTION "api"."lpad"("string" text, "length" integer, "fill" text DEFAULT ' ') RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
  IF "length" > 10000 THEN
    RAISE program_limit_exceeded USING MESSAGE = 'lpad would give more than 10000 characters';
  END IF;
  RETURN pg_catalog.lpad("string", "length", "fill");
END $$;--> statement-breakpoint
CREATE FUNCTION "api"."rpad"("string" text, "length" integer, "fill" text DEFAULT ' ') RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
  IF "length" > 10000 THEN
    RAISE program_limit_exceeded USING MESSAGE = 'rpad would give more than 10000 characters';
  END IF;
  RETURN pg_catalog.rpad("string", "length", "fill");
END $$;--> statement-breakpoint
CREATE FUNCTION "api"."array_fill"("value" anyelement, "dimensions" integer[]) RETURNS anyarray LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  "elements" numeric := 1;
  "dimension" integer;
BEGIN
  FOREACH "dimension" IN ARRAY COALESCE("dimensions", '{}') LOOP
    "elements" := "elements" * COALESCE("dimension", 0);
  END LOOP;
  IF "elements" > 10000 THEN
    RAISE program_limit_exceeded USING MESSAGE = 'array_fill would give more than 10000 elements';
  END IF;
  RETURN pg_catalog.array_fill("value", "dimensions");
END $$;