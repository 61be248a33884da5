// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Proofs of RFC 6962 Merkle trees, checked with the SHA-256 precompile
/// @dev Verification follows RFC 9162 sections 2.1.3.2 and 2.1.4.2. A node is `SHA-256(01 || left || right)`.
library MerkleLog {
    /// @notice Root of the empty tree: SHA-256 of nothing.
    bytes32 internal constant EMPTY_ROOT = 0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855;

    /// @notice Whether the tree of `size2` leaves with `root2` extends the one of `size1` leaves with `root1`.
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

        uint256 length = proof.length;
        uint256 next = 0;
        bytes32 older = root1;
        // A perfect older tree is itself the first node; any other proof starts with that node.
        if (size1 & (size1 - 1) != 0) {
            if (length == 0) return false;
            older = proof[0];
            next = 1;
        }
        bytes32 newer = older;
        // Shifts and comparisons only: nothing here can overflow.
        unchecked {
            uint256 lastOlder = uint256(size1) - 1;
            uint256 lastNewer = uint256(size2) - 1;
            while (lastOlder & 1 == 1) {
                lastOlder >>= 1;
                lastNewer >>= 1;
            }
            for (; next < length; ++next) {
                if (lastNewer == 0) return false;
                bytes32 sibling = proof[next];
                if (lastOlder & 1 == 1 || lastOlder == lastNewer) {
                    older = node(sibling, older);
                    newer = node(sibling, newer);
                    while (lastOlder & 1 == 0 && lastOlder != 0) {
                        lastOlder >>= 1;
                        lastNewer >>= 1;
                    }
                } else {
                    newer = node(newer, sibling);
                }
                lastOlder >>= 1;
                lastNewer >>= 1;
            }
            return lastNewer == 0 && older == root1 && newer == root2;
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

    /// @dev `SHA-256(01 || left || right)`. Assembly because the compiler's own packing allocates memory anew for each
    /// of some fifty calls; this one writes past the free-memory pointer without moving it.
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
}
