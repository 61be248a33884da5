// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Storage of ReceiptAnchor, layout version 1
/// @notice Offline verifiers read slots 0 to 2 with `eth_getProof`, so their place and packing are published in
/// docs/contracts.md and never change. The contract that inherits this names it first: its slots then start at 0,
/// whatever else is inherited.
abstract contract AnchorStorage {
    /// @notice Whether a log takes anchors. Closed is for good.
    enum Status {
        Open,
        Paused,
        Closed
    }

    /// @notice The leaf policy with this hash holds from `firstIndex` up to the next one's.
    struct LeafPolicy {
        uint64 firstIndex;
        bytes32 policyHash;
    }

    /// @dev Slot 0. Root of the anchored tree; the empty tree's before the first anchor.
    bytes32 internal _root;

    /// @dev Slot 1, from the low end: leaves of the anchored tree, anchors so far, block and time of the latest, and
    /// whether the log takes another.
    uint64 internal _size;
    uint64 internal _seq;
    uint48 internal _blockNumber;
    uint48 internal _time;
    Status internal _status;

    /// @dev Slot 2. Hash chain over all anchors; zero before the first.
    bytes32 internal _chain;

    /// @dev Slot 3. The log's name; set once.
    string internal _origin;

    /// @dev Slot 4. Append-only, first indices strictly increasing from 0.
    LeafPolicy[] internal _leafPolicies;

    /// @dev Slots 5 and 6. What a close names: the successor and the last good size, then the last good root.
    address internal _successor;
    uint64 internal _lastGoodSize;
    bytes32 internal _lastGoodRoot;
}
