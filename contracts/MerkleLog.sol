// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Proofs of RFC 6962 Merkle trees, checked with the SHA-256 precompile
/// @dev Verification follows RFC 9162 sections 2.1.3.2 and 2.1.4.2. A node is `SHA-256(01 || left || right)`.
library MerkleLog {
    /// @notice Root of the empty tree: SHA-256 of nothing.
    bytes32 internal constant EMPTY_ROOT = 0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855;

    /// @notice Whether the tree of `size2` leaves with `root2` extends the one of `size1` leaves with `root1`.
    /// @dev RFC 9162 section 2.1.4.2 walks from the older tree's last node upwards. Its number, and the newer tree's
    /// at the same level, first differ and then agree. While they differ each level has one sibling in the proof: on
    /// the left, in both trees, where the older number is odd; on the right, in the newer tree only, where it is even.
    /// Once they agree only left siblings are left, one for each bit set. So the two numbers fix the proof's length,
    /// and it can be checked before any hashing.
    /// @param size1 Leaves of the older tree; from 0 the proof is empty and `root1` the empty tree's.
    /// @param root1 The older tree's root.
    /// @param size2 Leaves of the newer tree, at least `size1`; at an equal size the proof is empty.
    /// @param root2 The newer tree's root.
    /// @param proof Nodes in RFC 6962 order.
    function isConsistent(uint64 size1, bytes32 root1, uint64 size2, bytes32 root2, bytes32[] calldata proof)
        internal
        view
        returns (bool)
    {
        if (size1 > size2) return false;
        if (size1 == 0 && root1 != EMPTY_ROOT) return false;
        if (size1 == size2) return proof.length == 0 && root1 == root2;
        if (size1 == 0) return proof.length == 0;

        // Shifts and comparisons of numbers below 2^64, and indices below the proof's length: nothing can overflow.
        unchecked {
            uint256 lastOlder = uint256(size1) - 1;
            uint256 lastNewer = uint256(size2) - 1;
            // The levels at which the older tree's last node is a right child have no sibling of their own in the
            // proof: it starts with the node above them.
            while (lastOlder & 1 == 1) {
                lastOlder >>= 1;
                lastNewer >>= 1;
            }
            // A perfect older tree is itself that first node, and is not repeated in the proof.
            uint256 next = lastOlder == 0 ? 0 : 1;
            uint256 differing = Math.log2(lastOlder ^ lastNewer) + 1;
            uint256 length = next + differing + bitCount(lastOlder >> differing);
            if (proof.length != length) return false;

            // One bit for each sibling still to come, the nearest lowest: set where it stands on the left.
            uint256 lefts = lastOlder | (type(uint256).max << differing);
            (bytes32 older, bytes32 newer) = climb(next == 0 ? root1 : proof[0], proof[next:], lefts);
            return older == root1 && newer == root2;
        }
    }

    /// @notice Whether `leaf` is leaf number `index` of the tree of `size` leaves with `root`.
    /// @param leaf `SHA-256(00 || entry)`.
    /// @param proof Siblings from the leaf upwards.
    function isIncluded(uint64 index, bytes32 leaf, uint64 size, bytes32 root, bytes32[] calldata proof)
        internal
        view
        returns (bool)
    {
        if (index >= size) return false;
        uint256 position = index;
        bytes32 hash = leaf;
        unchecked {
            uint256 last = uint256(size) - 1;
            for (uint256 i = 0; i < proof.length; ++i) {
                if (last == 0) return false;
                bytes32 sibling = proof[i];
                if (position & 1 == 1 || position == last) {
                    hash = node(sibling, hash);
                    while (position & 1 == 0 && position != 0) {
                        position >>= 1;
                        last >>= 1;
                    }
                } else {
                    hash = node(hash, sibling);
                }
                position >>= 1;
                last >>= 1;
            }
            return last == 0 && hash == root;
        }
    }

    /// @dev `SHA-256(01 || left || right)`. Assembly because the compiler's own packing allocates memory anew for
    /// each call; this one writes past the free-memory pointer without moving it.
    function node(bytes32 left, bytes32 right) internal view returns (bytes32 hash) {
        assembly ("memory-safe") {
            let free := mload(0x40)
            mstore8(free, 1)
            mstore(add(free, 1), left)
            mstore(add(free, 33), right)
            if iszero(staticcall(gas(), 2, free, 65, 0, 32)) { revert(0, 0) }
            hash := mload(0)
        }
    }

    /// @dev Walks from one node up two trees at once. A left sibling belongs to both, a right one to the newer alone.
    /// Assembly because this loop is most of an anchor's cost: each tree's next message `01 || left || right` stays in
    /// its place in free memory, and its hash is written where the message after it needs it.
    /// @param start The node that both trees share.
    /// @param siblings From the node upwards.
    /// @param lefts Bit i is set where sibling i stands on the left.
    function climb(bytes32 start, bytes32[] calldata siblings, uint256 lefts)
        private
        view
        returns (bytes32 older, bytes32 newer)
    {
        assembly ("memory-safe") {
            let olderMessage := mload(0x40)
            let newerMessage := add(olderMessage, 96)
            let olderRight := add(olderMessage, 33)
            let newerRight := add(newerMessage, 33)
            mstore8(olderMessage, 1)
            mstore8(newerMessage, 1)
            mstore(olderRight, start)
            mstore(newerRight, start)
            let done := 1
            let end := add(siblings.offset, shl(5, siblings.length))
            for { let cursor := siblings.offset } lt(cursor, end) { cursor := add(cursor, 32) } {
                let sibling := calldataload(cursor)
                switch and(lefts, 1)
                case 1 {
                    mstore(add(olderMessage, 1), sibling)
                    mstore(add(newerMessage, 1), sibling)
                    done := and(staticcall(gas(), 2, olderMessage, 65, olderRight, 32), done)
                }
                default {
                    mstore(add(newerMessage, 1), mload(newerRight))
                    mstore(newerRight, sibling)
                }
                done := and(staticcall(gas(), 2, newerMessage, 65, newerRight, 32), done)
                lefts := shr(1, lefts)
            }
            // The precompile fails only for want of gas.
            if iszero(done) { revert(0, 0) }
            older := mload(olderRight)
            newer := mload(newerRight)
        }
    }

    /// @dev How many of the low 64 bits are set, by adding up ever wider fields. `value` is below 2^64.
    function bitCount(uint256 value) internal pure returns (uint256) {
        unchecked {
            value -= (value >> 1) & 0x5555555555555555;
            value = (value & 0x3333333333333333) + ((value >> 2) & 0x3333333333333333);
            value = (value + (value >> 4)) & 0x0f0f0f0f0f0f0f0f;
            return (value * 0x0101010101010101 >> 56) & 0xff;
        }
    }
}
