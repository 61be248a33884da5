// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

/// @title Storage of SensorRegistry, layout version 1
/// @notice Offline verifiers read slots 0 to 3 with `eth_getProof`, so their place and packing are published in
/// docs/contracts.md and never change. The contract that inherits this names it first: its slots then start at 0,
/// whatever else is inherited.
abstract contract RegistryStorage {
    /// @notice A contributor's head: the fold over its settled records, and how many it has submitted.
    /// @param acc `keccak256(abi.encode(TAG_ACC, acc before, record))` over its settled records; first value zero.
    /// @param seq Number of its settled submissions.
    /// @param submitted Number of its submissions; the next one's nonce. Pending = submitted - seq.
    /// @param keyCount Number of keys ever registered; the current key's index is keyCount - 1.
    /// @param keyRevoked Whether the current key is revoked.
    struct Contributor {
        bytes32 acc;
        uint64 seq;
        uint64 submitted;
        uint32 keyCount;
        bool keyRevoked;
    }

    /// @notice Counters and settings that most calls touch, in one slot.
    /// @param settled Number of settled submissions; the next one's index.
    /// @param validated How many of them were validated.
    /// @param rejected How many of them were rejected; the rest expired.
    /// @param quorum Attestations of one side that settle a submission made from now on.
    /// @param membership Version of the validator set; raised by each admission and removal.
    struct Totals {
        uint64 settled;
        uint64 validated;
        uint64 rejected;
        uint32 quorum;
        uint32 membership;
    }

    /// @notice Cumulative counts after the last settling of an epoch; all zero where an epoch had none.
    struct EpochTotals {
        uint64 settled;
        uint64 validated;
        uint64 rejected;
    }

    /// @notice A sensor. Its owner, name and dataset never change, so a pending submission refers to it by number.
    struct Sensor {
        address owner;
        uint64 h3Cell;
        bytes32 name;
        bytes32 dataset;
    }

    /// @notice A dataset and every version of its schema.
    /// @param owner Who may add versions.
    /// @param versions How many there are; the one in force is versions - 1.
    /// @param schemas SHA-256 of the schema file by version.
    struct Dataset {
        address owner;
        uint24 versions;
        mapping(uint256 version => bytes32 schemaSha256) schemas;
    }

    /// @notice A submission that is not settled: three slots, cleared at settling. Its id cannot come back, because
    /// the nonce in it is used once.
    struct Pending {
        uint48 sensor;
        uint48 submittedBlock;
        uint32 keyIndex;
        uint24 schemaVersion;
        uint32 membership;
        uint24 payloadBytes;
        uint16 quorum;
        uint16 approvals;
        uint16 rejections;
        bytes32 payloadHash;
        bytes32 uriSha256;
    }

    /// @dev Slot 0. The hash of every field of a settled submission; zero before. Never changes once set.
    mapping(bytes32 id => bytes32 record) internal _record;

    /// @dev Slot 1. Word 0: acc. Word 1, from the low end: seq, submitted, keyCount, keyRevoked.
    mapping(address contributor => Contributor head) internal _contributors;

    /// @dev Slot 2. The contributor's acc when its seq became 256 * k; `[0]` is zero.
    mapping(address contributor => mapping(uint64 k => bytes32 acc)) internal _accAt;

    /// @dev Slot 3. From the low end: settled, validated, rejected, quorum, membership.
    Totals internal _totals;

    /// @dev Slot 4. Cumulative counts by epoch (`block.timestamp / EPOCH_SECONDS`).
    mapping(uint64 epoch => EpochTotals totals) internal _epochTotals;

    /// @dev Slot 5. SHA-256 of the public key by key index.
    mapping(address contributor => mapping(uint256 keyIndex => bytes32 keyId)) internal _keyIds;

    /// @dev Slot 6. Submissions that are not settled.
    mapping(bytes32 id => Pending pending) internal _pending;

    /// @dev Slot 7. Who attested to what.
    mapping(bytes32 id => mapping(address validator => bool done)) internal _attested;

    /// @dev Slot 8. A validator's history: 1 from the membership version of each admission, 0 from each removal.
    mapping(address validator => Checkpoints.Trace224 history) internal _memberships;

    /// @dev Slot 9. Number of a sensor by name; 0 is none.
    mapping(bytes32 name => uint48 number) internal _sensorNumbers;

    /// @dev Slot 10. Sensors by number, from 1.
    mapping(uint48 number => Sensor sensor) internal _sensors;

    /// @dev Slot 11. Datasets by name.
    mapping(bytes32 name => Dataset dataset) internal _datasets;

    /// @dev Slot 12. How many sensors there are; the number of the latest.
    uint48 internal _sensorCount;
}
