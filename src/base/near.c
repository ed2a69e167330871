#include "base/near.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Damerau-Levenshtein distance (restricted: no letter moves twice), of words up to 31 letters. */
static int distance(const char *a, const char *b)
{
    enum { MAX = 32 };
    int rows[3][MAX + 1], n = (int)strlen(a), m = (int)strlen(b);
    if (n >= MAX || m >= MAX)
        return MAX;
    for (int j = 0; j <= m; j++)
        rows[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = above2[j - 2] + 1 < best ? above2[j - 2] + 1 : best;
            row[j] = best;
        }
    }
    return rows[n % 3][m];
}

/* Is one the beginning or the end of the other, as of "temperature" and "temp", or "predict" and
 * "n-predict"? Then the shorter one's length, else 0; as for fewer than three letters. */
static size_t part_length(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), least = n < m ? n : m;
    bool is_part = strncmp(a, b, least) == 0 || strcmp(a + n - least, b + m - least) == 0;
    return is_part && least >= 3 ? least : 0;
}

const char *nearest_name(const char *name, const char *const *names)
{
    const char *best = NULL, *longest_part = NULL;
    int best_distance = strlen(name) <= 3 ? 2 : 3; /* below this */
    size_t longest = 0;
    for (size_t i = 0; names[i]; i++) {
        size_t n = strlen(name), part = part_length(name, names[i]);
        bool begins = n >= 3 && strncmp(names[i], name, n) == 0;
        int d = begins ? 1 : distance(name, names[i]);
        if (d < best_distance) {
            best = names[i];
            best_distance = d;
        }
        if (part > longest) {
            longest_part = names[i];
            longest = part;
        }
    }
    return best ? best : longest_part;
}
