CREATE FUNCTION "api"."bounded"("value" anyelement) RETURNS anyelement LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
  IF pg_column_size("value") > 1000000 THEN
    RAISE program_limit_exceeded USING MESSAGE = 'an aggregate kept more than a million bytes';
  END IF;
  RETURN "value";
END $$;