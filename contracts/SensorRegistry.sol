// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {
    AccessControlDefaultAdminRules
} from "@openzeppelin/contracts/access/extensions/AccessControlDefaultAdminRules.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {RegistryStorage} from "./RegistryStorage.sol";

/// @title SensorRegistry
/// @notice Contributors register keys, datasets and sensors, and submit hashes of MAML payloads; validators attest to
/// them. A settled submission leaves one hash of all its fields, and a fold over its contributor's records, in slots
/// that anyone can prove offline. Not upgradeable.
/// @dev Public keys and proofs of possession are ML-DSA-65 (FIPS 204). The chain checks their lengths only: who reads
/// the events verifies the possession.
contract SensorRegistry is RegistryStorage, AccessControlDefaultAdminRules {
    using Checkpoints for Checkpoints.Trace224;

    /// @notice One item of `submitBatch`.
    struct Submission {
        string sensor;
        bytes32 payloadHash;
        uint64 payloadBytes;
        string uri;
    }

    /// @notice One item of `attestBatch`.
    struct Attestation {
        bytes32 id;
        bool valid;
    }

    /// @notice What `pending` answers about a submission that is not settled.
    struct PendingView {
        address contributor;
        string sensor;
        string dataset;
        bytes32 schemaSha256;
        bytes32 payloadHash;
        uint64 payloadBytes;
        bytes32 uriSha256;
        bytes32 keyId;
        uint64 submittedBlock;
        uint64 membership;
        uint32 quorum;
        uint32 approvals;
        uint32 rejections;
    }

    /// @notice Role of the accounts that attest.
    bytes32 public constant VALIDATOR_ROLE = keccak256("VALIDATOR_ROLE");

    /// @notice Outcomes of a settled submission.
    uint8 public constant OUTCOME_VALIDATED = 1;
    uint8 public constant OUTCOME_REJECTED = 2;
    uint8 public constant OUTCOME_EXPIRED = 3;

    /// @notice Limits, in bytes or items.
    uint256 public constant MAX_BATCH = 256;
    uint256 public constant MAX_URI_BYTES = 1024;
    uint256 public constant MAX_PAYLOAD_BYTES = 1 << 20;
    uint256 public constant MAX_SCHEMA_BYTES = 16 * 1024;
    uint256 public constant PUBLIC_KEY_BYTES = 1952;
    uint256 public constant SIGNATURE_BYTES = 3309;

    /// @notice `accAt` keeps a contributor's acc each time that its seq reaches a multiple of this.
    uint64 public constant ACC_STRIDE = 256;

    bytes32 private constant TAG_SUBMISSION = keccak256("dunes.submission/v1");
    bytes32 private constant TAG_RECORD = keccak256("dunes.record/v1");
    bytes32 private constant TAG_ACC = keccak256("dunes.acc/v1");

    /// @notice Length of an epoch in seconds of chain time.
    uint64 public immutable EPOCH_SECONDS;

    /// @notice Number of blocks after the submission's own in which only a quorum can settle it.
    uint64 public immutable ttl;

    /// @notice A key is in force: the first has index 0, each rotation the next.
    event KeyRegistered(
        address indexed contributor, uint64 indexed keyIndex, bytes32 keyId, bytes publicKey, bytes possession
    );
    /// @notice The current key is revoked: it counts for no later submission.
    event KeyRevoked(address indexed contributor, uint64 indexed keyIndex);
    /// @notice A schema version is in force; version 0 registers the dataset.
    event DatasetUpdated(string name, uint64 version, bytes32 schemaSha256, bytes schema);
    /// @notice A sensor exists, for good.
    event SensorRegistered(address indexed contributor, string name, string dataset, uint64 h3Cell);
    /// @notice A submission waits for attestations.
    event Submitted(
        bytes32 indexed id,
        address indexed contributor,
        uint64 nonce,
        string sensor,
        string dataset,
        bytes32 schemaSha256,
        bytes32 payloadHash,
        uint64 payloadBytes,
        string uri,
        bytes32 keyId,
        uint32 quorum
    );
    /// @notice A validator judged a submission.
    event Attested(bytes32 indexed id, address indexed validator, bool valid);
    /// @notice A submission is settled. `acc` is the contributor's after this record.
    event SubmissionSettled(
        bytes32 indexed id,
        address indexed contributor,
        uint64 index,
        uint64 seq,
        uint8 outcome,
        bytes32 record,
        bytes32 acc
    );
    /// @notice Submissions from now on settle by this many attestations of one side.
    event QuorumChanged(uint32 quorum);

    /// @notice A name is not `[a-z0-9_]{1,32}`.
    error BadName();
    /// @notice A name is taken.
    error NameTaken();
    /// @notice A public key that is not 1,952 bytes.
    error BadPublicKeyLength(uint256 length);
    /// @notice A proof of possession that is not 3,309 bytes.
    error BadPossessionLength(uint256 length);
    /// @notice The account already has a key: rotate it.
    error KeyAlreadyRegistered();
    /// @notice The account has no key, or none that is not revoked.
    error NoKey();
    /// @notice A schema longer than 16 KiB.
    error SchemaTooLong(uint256 length);
    /// @notice No such dataset.
    error UnknownDataset();
    /// @notice Only the dataset's owner adds versions.
    error NotDatasetOwner();
    /// @notice No such sensor.
    error UnknownSensor();
    /// @notice Only the sensor's owner submits for it.
    error NotSensorOwner();
    /// @notice A payload length outside 1 to 1,048,576.
    error BadPayloadLength(uint64 length);
    /// @notice A URI length outside 1 to 1,024.
    error BadUriLength(uint256 length);
    /// @notice More than 256 items.
    error BatchTooLarge(uint256 length);
    /// @notice Nothing was submitted under this id.
    error UnknownSubmission(bytes32 id);
    /// @notice The submission is settled.
    error AlreadySettled(bytes32 id);
    /// @notice The account was not in the validator set when the submission was made.
    error NotValidator(address account);
    /// @notice A contributor never attests to its own submission.
    error OwnSubmission(bytes32 id);
    /// @notice A validator attests once.
    error AlreadyAttested(bytes32 id);
    /// @notice The submission can expire only after the block given.
    error NotExpired(uint64 lastBlock);
    /// @notice A quorum outside 1 to 65,535.
    error BadQuorum(uint32 quorum);
    /// @notice An epoch of zero seconds.
    error BadEpochSeconds();
    /// @notice A time to live of zero blocks, or one beyond any block number.
    error BadTtl();

    /// @dev What stands against an attestation; `attest` reverts with it, `attestBatch` skips.
    enum Obstacle {
        None,
        Unknown,
        Settled,
        Own,
        Repeated,
        Outsider
    }

    /// @param admin Holder of DEFAULT_ADMIN_ROLE: admits and removes validators and sets the quorum.
    /// @param adminDelay Seconds that a transfer of that role waits.
    /// @param quorum_ First quorum.
    /// @param ttl_ Blocks after which a submission can expire.
    /// @param epochSeconds Length of an epoch.
    /// @param validators Accounts admitted at once.
    constructor(
        address admin,
        uint48 adminDelay,
        uint32 quorum_,
        uint64 ttl_,
        uint64 epochSeconds,
        address[] memory validators
    ) AccessControlDefaultAdminRules(adminDelay, admin) {
        if (epochSeconds == 0) revert BadEpochSeconds();
        if (ttl_ == 0 || ttl_ > type(uint48).max) revert BadTtl();
        EPOCH_SECONDS = epochSeconds;
        ttl = ttl_;
        _setQuorum(quorum_);
        for (uint256 i = 0; i < validators.length; ++i) {
            _grantRole(VALIDATOR_ROLE, validators[i]);
        }
    }

    // ---------------------------------------------------------------- keys

    /// @notice Registers the caller's first key.
    /// @param publicKey ML-DSA-65 public key, 1,952 bytes.
    /// @param possession ML-DSA-65 signature, 3,309 bytes, context `dunes.key/v1`, over
    /// `SHA-256("dunes.key/v1\0" || chainid u256 || registry || account || keyIndex u64)`, integers big-endian.
    function registerKey(bytes calldata publicKey, bytes calldata possession) external {
        if (_contributors[msg.sender].keyCount != 0) revert KeyAlreadyRegistered();
        _setKey(publicKey, possession);
    }

    /// @notice Puts a new key in force for later submissions, also after a revocation. Past ones are untouched.
    /// @param publicKey As for `registerKey`.
    /// @param possession As for `registerKey`, with the new key's index.
    function rotateKey(bytes calldata publicKey, bytes calldata possession) external {
        if (_contributors[msg.sender].keyCount == 0) revert NoKey();
        _setKey(publicKey, possession);
    }

    /// @notice Revokes the caller's current key: no submission until the next rotation. Past ones are untouched.
    function revokeKey() external {
        Contributor storage head_ = _contributors[msg.sender];
        if (head_.keyCount == 0 || head_.keyRevoked) revert NoKey();
        head_.keyRevoked = true;
        emit KeyRevoked(msg.sender, head_.keyCount - 1);
    }

    // ---------------------------------------------------------------- datasets and sensors

    /// @notice Registers a dataset; the caller owns it.
    /// @param name `[a-z0-9_]{1,32}`, unique.
    /// @param schema Bytes of the schema file, at most 16 KiB.
    function registerDataset(string calldata name, bytes calldata schema) external {
        Dataset storage dataset_ = _datasets[_checkedName(name)];
        if (dataset_.owner != address(0)) revert NameTaken();
        dataset_.owner = msg.sender;
        _addSchema(dataset_, name, schema);
    }

    /// @notice Adds a schema version, in force for later submissions.
    /// @param name The dataset's.
    /// @param schema Bytes of the schema file, at most 16 KiB.
    function updateDataset(string calldata name, bytes calldata schema) external {
        Dataset storage dataset_ = _datasets[_lookupName(name)];
        if (dataset_.owner == address(0)) revert UnknownDataset();
        if (dataset_.owner != msg.sender) revert NotDatasetOwner();
        _addSchema(dataset_, name, schema);
    }

    /// @notice Registers a sensor; the caller owns it and alone submits for it.
    /// @param name `[a-z0-9_]{1,32}`, unique among sensors.
    /// @param dataset_ Name of an existing dataset.
    /// @param h3Cell H3 cell of its place, as claimed; not checked.
    function registerSensor(string calldata name, string calldata dataset_, uint64 h3Cell) external {
        bytes32 word = _checkedName(name);
        bytes32 datasetKey = _lookupName(dataset_);
        if (_datasets[datasetKey].owner == address(0)) revert UnknownDataset();
        if (_sensorNumbers[word] != 0) revert NameTaken();
        uint48 number = ++_sensorCount;
        _sensorNumbers[word] = number;
        _sensors[number] = Sensor({owner: msg.sender, h3Cell: h3Cell, name: word, dataset: datasetKey});
        emit SensorRegistered(msg.sender, name, dataset_, h3Cell);
    }

    // ---------------------------------------------------------------- submissions

    /// @notice Submits one payload's hash for attestation.
    /// @param sensor_ Name of a sensor of the caller's.
    /// @param payloadHash SHA-256 of the payload.
    /// @param payloadBytes Its length, 1 to 1,048,576.
    /// @param uri Where to fetch it, 1 to 1,024 bytes.
    /// @return id `keccak256(abi.encode(TAG_SUBMISSION, chainid, this, contributor, nonce, sensor, payloadHash,
    /// payloadBytes, uriSha256))`. It commits to the payload, so that no reorganisation can move an attestation
    /// onto another one.
    function submit(string calldata sensor_, bytes32 payloadHash, uint64 payloadBytes, string calldata uri)
        external
        returns (bytes32 id)
    {
        return _submit(sensor_, payloadHash, payloadBytes, uri);
    }

    /// @notice Submits at most 256 payloads, all or none.
    /// @param items As the arguments of `submit`.
    function submitBatch(Submission[] calldata items) external {
        if (items.length > MAX_BATCH) revert BatchTooLarge(items.length);
        for (uint256 i = 0; i < items.length; ++i) {
            Submission calldata item = items[i];
            _submit(item.sensor, item.payloadHash, item.payloadBytes, item.uri);
        }
    }

    // ---------------------------------------------------------------- attestations

    /// @notice Judges a submission. The side that first reaches the submission's quorum settles it.
    /// @dev Who may attest, and the quorum, are those at the submission: an account removed since still may, one
    /// admitted since may not.
    /// @param id The submission.
    /// @param valid Whether the caller finds it valid.
    function attest(bytes32 id, bool valid) external {
        Obstacle obstacle = _attest(id, valid);
        if (obstacle == Obstacle.None) return;
        if (obstacle == Obstacle.Unknown) revert UnknownSubmission(id);
        if (obstacle == Obstacle.Settled) revert AlreadySettled(id);
        if (obstacle == Obstacle.Own) revert OwnSubmission(id);
        if (obstacle == Obstacle.Repeated) revert AlreadyAttested(id);
        revert NotValidator(msg.sender);
    }

    /// @notice Judges at most 256 submissions, and skips each that is settled, unknown, the caller's own, already
    /// attested by it, or made while it was not in the set. Reverts only when the caller was never in the set.
    /// @param items Submissions and verdicts.
    function attestBatch(Attestation[] calldata items) external {
        if (items.length > MAX_BATCH) revert BatchTooLarge(items.length);
        if (_memberships[msg.sender].length() == 0) revert NotValidator(msg.sender);
        for (uint256 i = 0; i < items.length; ++i) {
            _attest(items[i].id, items[i].valid);
        }
    }

    /// @notice Settles a submission as expired once more than `ttl` blocks have passed since its own. Anyone may.
    /// @param id The submission.
    function expire(bytes32 id) external {
        Pending storage pending_ = _pending[id];
        if (pending_.sensor == 0) {
            if (_record[id] != 0) revert AlreadySettled(id);
            revert UnknownSubmission(id);
        }
        uint64 lastBlock = pending_.submittedBlock + ttl;
        if (block.number <= lastBlock) revert NotExpired(lastBlock);
        _settle(id, OUTCOME_EXPIRED);
    }

    // ---------------------------------------------------------------- administration

    /// @notice Sets the quorum of later submissions.
    /// @param quorum_ 1 to 65,535.
    function setQuorum(uint32 quorum_) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _setQuorum(quorum_);
    }

    // ---------------------------------------------------------------- views

    /// @notice Number of settled submissions, and the next one's index.
    function settledCount() external view returns (uint64) {
        return _totals.settled;
    }

    /// @notice Quorum of submissions made now.
    function quorum() external view returns (uint32) {
        return _totals.quorum;
    }

    /// @notice Version of the validator set.
    function membership() external view returns (uint64) {
        return _totals.membership;
    }

    /// @notice Whether `account` was in the validator set at a version.
    function isMemberAt(address account, uint64 version) external view returns (bool) {
        return version <= type(uint32).max && _memberships[account].upperLookupRecent(uint32(version)) == 1;
    }

    /// @notice A contributor's head.
    /// @return acc The fold over its settled records, zero before the first.
    /// @return seq Number of its settled submissions.
    /// @return submitted Number of its submissions.
    function head(address contributor) external view returns (bytes32 acc, uint64 seq, uint64 submitted) {
        Contributor storage head_ = _contributors[contributor];
        return (head_.acc, head_.seq, head_.submitted);
    }

    /// @notice Hash of all fields of a settled submission; zero before.
    function record(bytes32 id) external view returns (bytes32) {
        return _record[id];
    }

    /// @notice A contributor's acc when its seq became `256 * k`: it covers every seq below that.
    function accAt(address contributor, uint64 k) external view returns (bytes32) {
        return _accAt[contributor][k];
    }

    /// @notice Cumulative counts after the last settling of an epoch; zero where it had none.
    function epochTotals(uint64 epoch) external view returns (uint64 settled, uint64 validated, uint64 rejected) {
        EpochTotals storage totals = _epochTotals[epoch];
        return (totals.settled, totals.validated, totals.rejected);
    }

    /// @notice A contributor's latest key.
    /// @return keyId SHA-256 of the public key; zero where there is none.
    /// @return keyIndex Its index.
    /// @return active Whether it is there and not revoked.
    function key(address contributor) external view returns (bytes32 keyId, uint64 keyIndex, bool active) {
        Contributor storage head_ = _contributors[contributor];
        if (head_.keyCount == 0) return (0, 0, false);
        keyIndex = head_.keyCount - 1;
        return (_keyIds[contributor][keyIndex], keyIndex, !head_.keyRevoked);
    }

    /// @notice A sensor by name; the owner is zero where there is none.
    function sensor(string calldata name)
        external
        view
        returns (address owner_, string memory dataset_, uint64 h3Cell)
    {
        Sensor storage sensor_ = _sensors[_sensorNumbers[_lookupName(name)]];
        return (sensor_.owner, _nameText(sensor_.dataset), sensor_.h3Cell);
    }

    /// @notice A dataset by name: owner, current version and its schema's SHA-256; the owner is zero where there is
    /// none.
    function dataset(string calldata name)
        external
        view
        returns (address owner_, uint64 version, bytes32 schemaSha256)
    {
        Dataset storage dataset_ = _datasets[_lookupName(name)];
        if (dataset_.owner == address(0)) return (address(0), 0, 0);
        version = dataset_.versions - 1;
        return (dataset_.owner, version, dataset_.schemas[version]);
    }

    /// @notice Whether a validator has attested to a submission.
    function hasAttested(bytes32 id, address validator) external view returns (bool) {
        return _attested[id][validator];
    }

    /// @notice A submission that is not settled; the contributor is zero where there is none.
    function pending(bytes32 id) external view returns (PendingView memory) {
        Pending storage pending_ = _pending[id];
        Sensor storage sensor_ = _sensors[pending_.sensor];
        return PendingView({
            contributor: sensor_.owner,
            sensor: _nameText(sensor_.name),
            dataset: _nameText(sensor_.dataset),
            schemaSha256: _datasets[sensor_.dataset].schemas[pending_.schemaVersion],
            payloadHash: pending_.payloadHash,
            payloadBytes: pending_.payloadBytes,
            uriSha256: pending_.uriSha256,
            keyId: _keyIds[sensor_.owner][pending_.keyIndex],
            submittedBlock: pending_.submittedBlock,
            membership: pending_.membership,
            quorum: pending_.quorum,
            approvals: pending_.approvals,
            rejections: pending_.rejections
        });
    }

    // ---------------------------------------------------------------- internals

    function _setKey(bytes calldata publicKey, bytes calldata possession) private {
        if (publicKey.length != PUBLIC_KEY_BYTES) revert BadPublicKeyLength(publicKey.length);
        if (possession.length != SIGNATURE_BYTES) revert BadPossessionLength(possession.length);
        Contributor storage head_ = _contributors[msg.sender];
        uint32 keyIndex = head_.keyCount;
        bytes32 keyId = sha256(publicKey);
        head_.keyCount = keyIndex + 1;
        head_.keyRevoked = false;
        _keyIds[msg.sender][keyIndex] = keyId;
        emit KeyRegistered(msg.sender, keyIndex, keyId, publicKey, possession);
    }

    function _addSchema(Dataset storage dataset_, string calldata name, bytes calldata schema) private {
        if (schema.length > MAX_SCHEMA_BYTES) revert SchemaTooLong(schema.length);
        uint24 version = dataset_.versions;
        bytes32 schemaSha256 = sha256(schema);
        dataset_.versions = version + 1;
        dataset_.schemas[version] = schemaSha256;
        emit DatasetUpdated(name, version, schemaSha256, schema);
    }

    function _setQuorum(uint32 quorum_) private {
        if (quorum_ == 0 || quorum_ > type(uint16).max) revert BadQuorum(quorum_);
        _totals.quorum = quorum_;
        emit QuorumChanged(quorum_);
    }

    function _submit(string calldata sensor_, bytes32 payloadHash, uint64 payloadBytes, string calldata uri)
        private
        returns (bytes32 id)
    {
        if (payloadBytes == 0 || payloadBytes > MAX_PAYLOAD_BYTES) revert BadPayloadLength(payloadBytes);
        if (bytes(uri).length == 0 || bytes(uri).length > MAX_URI_BYTES) revert BadUriLength(bytes(uri).length);
        uint48 number = _sensorNumbers[_lookupName(sensor_)];
        if (number == 0) revert UnknownSensor();
        if (_sensors[number].owner != msg.sender) revert NotSensorOwner();

        Contributor storage head_ = _contributors[msg.sender];
        if (head_.keyCount == 0 || head_.keyRevoked) revert NoKey();
        uint64 nonce = head_.submitted;
        head_.submitted = nonce + 1;

        bytes32 uriSha256 = sha256(bytes(uri));
        id = keccak256(
            abi.encode(
                TAG_SUBMISSION,
                block.chainid,
                address(this),
                msg.sender,
                uint256(nonce),
                sensor_,
                payloadHash,
                uint256(payloadBytes),
                uriSha256
            )
        );

        bytes32 datasetKey = _sensors[number].dataset;
        Dataset storage dataset_ = _datasets[datasetKey];
        Pending memory pending_ = Pending({
            sensor: number,
            submittedBlock: uint48(block.number),
            keyIndex: head_.keyCount - 1,
            schemaVersion: dataset_.versions - 1,
            membership: _totals.membership,
            payloadBytes: uint24(payloadBytes),
            quorum: uint16(_totals.quorum),
            approvals: 0,
            rejections: 0,
            payloadHash: payloadHash,
            uriSha256: uriSha256
        });
        _pending[id] = pending_;
        emit Submitted(
            id,
            msg.sender,
            nonce,
            sensor_,
            _nameText(datasetKey),
            dataset_.schemas[pending_.schemaVersion],
            payloadHash,
            payloadBytes,
            uri,
            _keyIds[msg.sender][pending_.keyIndex],
            pending_.quorum
        );
    }

    function _attest(bytes32 id, bool valid) private returns (Obstacle) {
        Pending storage pending_ = _pending[id];
        if (pending_.sensor == 0) return _record[id] == 0 ? Obstacle.Unknown : Obstacle.Settled;
        if (_memberships[msg.sender].upperLookupRecent(pending_.membership) != 1) return Obstacle.Outsider;
        if (_sensors[pending_.sensor].owner == msg.sender) return Obstacle.Own;
        if (_attested[id][msg.sender]) return Obstacle.Repeated;
        _attested[id][msg.sender] = true;
        uint16 side = 1 + (valid ? pending_.approvals : pending_.rejections);
        emit Attested(id, msg.sender, valid);
        if (side >= pending_.quorum) {
            _settle(id, valid ? OUTCOME_VALIDATED : OUTCOME_REJECTED);
        } else if (valid) {
            pending_.approvals = side;
        } else {
            pending_.rejections = side;
        }
        return Obstacle.None;
    }

    /// @dev Moves a pending submission into its record, its contributor's fold and the counts. The only place that
    /// writes `_record`, and only for an id that is pending, so a record never changes.
    function _settle(bytes32 id, uint8 outcome) private {
        Pending memory pending_ = _pending[id];
        delete _pending[id];
        Sensor storage sensor_ = _sensors[pending_.sensor];
        address contributor = sensor_.owner;
        Contributor storage head_ = _contributors[contributor];
        uint64 seq = head_.seq;
        uint64 index = _countSettled(outcome);
        bytes32 record_ = _recordHash(id, pending_, sensor_, seq, index, outcome);
        bytes32 acc = keccak256(abi.encode(TAG_ACC, head_.acc, record_));
        _record[id] = record_;
        head_.acc = acc;
        head_.seq = seq + 1;
        if ((seq + 1) % ACC_STRIDE == 0) _accAt[contributor][(seq + 1) / ACC_STRIDE] = acc;
        emit SubmissionSettled(id, contributor, index, seq, outcome, record_, acc);
    }

    /// @dev Raises the totals and the epoch's copy of them; returns the new submission's index.
    function _countSettled(uint8 outcome) private returns (uint64 index) {
        Totals memory totals = _totals;
        index = totals.settled;
        totals.settled = index + 1;
        if (outcome == OUTCOME_VALIDATED) ++totals.validated;
        else if (outcome == OUTCOME_REJECTED) ++totals.rejected;
        _totals = totals;
        _epochTotals[uint64(block.timestamp) / EPOCH_SECONDS] =
            EpochTotals({settled: totals.settled, validated: totals.validated, rejected: totals.rejected});
    }

    /// @dev `keccak256(abi.encode(TAG_RECORD, chainid, this, id, contributor, sensor, dataset, schemaSha256,
    /// payloadHash, payloadBytes, uriSha256, keyId, submittedBlock, seq, index, outcome))`, put together from parts
    /// because the compiler cannot hold sixteen values on the stack. A name is 1 to 32 bytes, so each string takes a
    /// length and one word after the sixteen words of the head: sensor at byte 512, dataset at byte 576.
    function _recordHash(
        bytes32 id,
        Pending memory pending_,
        Sensor storage sensor_,
        uint64 seq,
        uint64 index,
        uint8 outcome
    ) private view returns (bytes32) {
        address contributor = sensor_.owner;
        bytes32 name = sensor_.name;
        bytes32 datasetKey = sensor_.dataset;
        bytes memory who = abi.encode(TAG_RECORD, block.chainid, address(this), id, contributor);
        bytes memory what = abi.encode(
            uint256(512),
            uint256(576),
            _datasets[datasetKey].schemas[pending_.schemaVersion],
            pending_.payloadHash,
            uint256(pending_.payloadBytes),
            pending_.uriSha256
        );
        bytes memory when = abi.encode(
            _keyIds[contributor][pending_.keyIndex], uint256(pending_.submittedBlock), uint256(seq), uint256(index)
        );
        bytes memory rest =
            abi.encode(uint256(outcome), _nameLength(name), name, _nameLength(datasetKey), datasetKey);
        return keccak256(bytes.concat(who, what, when, rest));
    }

    /// @dev A new name, checked and left-aligned in a word.
    function _checkedName(string calldata name) private pure returns (bytes32 word) {
        bytes calldata raw = bytes(name);
        if (raw.length == 0 || raw.length > 32) revert BadName();
        for (uint256 i = 0; i < raw.length; ++i) {
            bytes1 c = raw[i];
            if (!((c >= "a" && c <= "z") || (c >= "0" && c <= "9") || c == "_")) revert BadName();
        }
        return bytes32(raw);
    }

    /// @dev The word of a name to look up. A final NUL is refused: padded with zeros it would match a shorter name.
    function _lookupName(string calldata name) private pure returns (bytes32 word) {
        bytes calldata raw = bytes(name);
        if (raw.length == 0 || raw.length > 32 || raw[raw.length - 1] == 0) revert BadName();
        return bytes32(raw);
    }

    /// @dev The name in a word: its bytes up to the first zero.
    function _nameText(bytes32 word) private pure returns (string memory) {
        uint256 length = _nameLength(word);
        bytes memory text = new bytes(length);
        // A bytes object of 1 to 32 bytes occupies one word after its length; an empty one must not be written to.
        if (length != 0) {
            assembly ("memory-safe") {
                mstore(add(text, 0x20), word)
            }
        }
        return string(text);
    }

    function _nameLength(bytes32 word) private pure returns (uint256 length) {
        while (length < 32 && word[length] != 0) ++length;
    }

    /// @dev Keeps the validator set's history beside the role itself.
    function _grantRole(bytes32 role, address account)
        internal
        override(AccessControlDefaultAdminRules)
        returns (bool granted)
    {
        granted = super._grantRole(role, account);
        if (granted && role == VALIDATOR_ROLE) _memberships[account].push(++_totals.membership, 1);
    }

    /// @dev Keeps the validator set's history beside the role itself.
    function _revokeRole(bytes32 role, address account)
        internal
        override(AccessControlDefaultAdminRules)
        returns (bool revoked)
    {
        revoked = super._revokeRole(role, account);
        if (revoked && role == VALIDATOR_ROLE) _memberships[account].push(++_totals.membership, 0);
    }
}
