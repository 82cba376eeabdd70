/* Owns the drawing; see svg.h. From left to right time, from top to bottom:
 *
 *   title             the rule, what was found, the key
 *   faults            a band from :start-x to :stop-x, a dotted line for what has no length, with its name
 *   a row an acquire  pale: it waits; full: certainly held; outlined: promised by its library; a triangle: its release was asked for
 *   a row of reads    a bar from invocation to completion, with the tokens that it showed
 *   time              in seconds since the history's first line; red: the moment of the violation
 *
 * The rows are those of the finding, in red, and as many neighbours in time as fit. */
#include "svg.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    WIDTH = 1200,
    LEFT = 230,
    RIGHT = 30,
    HEAD = 62,
    FAULT_ROW = 15,
    FAULT_ROWS = 6,
    ROW = 24,
    ROWS_MAX = 40,
    FAULTS_MAX = 64,
    PATH_BYTES = 4096,
    LABEL_BYTES = 160,
    TICKS = 8
};

struct picture {
    const struct facts *facts;
    const struct finding *finding;
    FILE *out;
    int64_t from, to;
    const struct op **faults; /* all of the history's, and crashes, pauses and heals */
    size_t faults_count;
    const struct op *rows[ROWS_MAX];
    size_t rows_count;
    unsigned fault_rows;
    int top, bottom; /* of the rows */
};

static double x_of(const struct picture *picture, int64_t time)
{
    int64_t clipped = time < picture->from ? picture->from : time > picture->to ? picture->to : time;
    double part = (double)(clipped - picture->from) / (double)(picture->to - picture->from);
    return LEFT + part * (WIDTH - LEFT - RIGHT);
}

static void put_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<':
            (void)fputs("&lt;", out);
            break;
        case '>':
            (void)fputs("&gt;", out);
            break;
        case '&':
            (void)fputs("&amp;", out);
            break;
        default:
            (void)fputc((unsigned char)*text < ' ' ? ' ' : *text, out);
        }
    }
}

static void text_at(FILE *out, double x, double y, const char *style, const char *text)
{
    (void)fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, style);
    put_text(out, text);
    (void)fputs("</text>\n", out);
}

static void bar(const struct picture *picture, int64_t from, int64_t to, double y, double height,
                const char *style)
{
    double x = x_of(picture, from);
    double width = x_of(picture, to) - x;
    if (to > picture->from && from < picture->to) {
        (void)fprintf(picture->out,
                      "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"%s\"/>\n", x, y,
                      width < 1.5 ? 1.5 : width, height, style);
    }
}

/* ---- what is shown ---- */

static bool is_of_finding(const struct finding *finding, const struct op *op)
{
    for (unsigned i = 0; i < finding->ops_count; i++) {
        if (finding->ops[i].invoked_at.file == op->invoked_at.file &&
            finding->ops[i].invoked_at.line == op->invoked_at.line) {
            return true;
        }
    }
    return false;
}

static void choose_window(struct picture *picture)
{
    const int64_t pad_min = 50 * NS_PER_MS;
    const struct finding *finding = picture->finding;
    int64_t from = finding->time;
    int64_t to = finding->until;
    for (unsigned i = 0; i < finding->ops_count; i++) {
        const struct op *op = &finding->ops[i];
        int64_t begin = op->invoke == 0 ? finding->time : op->invoke;
        int64_t end = op->done == NEVER || op->done == 0 ? picture->facts->history->last : op->done;
        from = begin < from ? begin : from;
        to = end > to ? end : to;
    }
    int64_t pad = (to - from) / 6;
    pad = pad < pad_min ? pad_min : pad;
    picture->from = from - pad;
    picture->to = to + pad;
}

static bool may_be_row(const struct picture *picture, const struct op *op)
{
    bool kind = op->f == OP_ACQUIRE || op->f == OP_STATUS || op->f == OP_CHECK || op->f == OP_FINAL;
    int64_t end = op->done;
    const struct grant *grant =
        op->f == OP_ACQUIRE && op->outcome == OUTCOME_OK ? facts_grant(picture->facts, op->token) : NULL;
    if (grant != NULL && grant->held_until > end) {
        end = grant->held_until;
    }
    return kind && end >= picture->from && op->invoke <= picture->to;
}

static int by_invocation(const void *left, const void *right)
{
    const struct op *a = *(const struct op *const *)left;
    const struct op *b = *(const struct op *const *)right;
    return a->invoke < b->invoke ? -1 : a->invoke > b->invoke;
}

/* Those of the finding, then the nearest to its moment, going outwards from it on both sides. */
static void choose_rows(struct picture *picture)
{
    const struct facts *facts = picture->facts;
    uint32_t key = picture->finding->key;
    const uint32_t *ops = facts->by_key + facts->key_begin[key];
    size_t count = key == 0 ? 0 : facts->key_begin[key + 1] - facts->key_begin[key];
    size_t middle = 0;
    for (size_t i = 0; i < count; i++) {
        const struct op *op = &facts->history->ops[ops[i]];
        middle += op->invoke < picture->finding->time;
        if (is_of_finding(picture->finding, op) && may_be_row(picture, op)) {
            picture->rows[picture->rows_count++] = op;
        }
    }
    for (size_t distance = 0; distance < count && picture->rows_count < ROWS_MAX; distance++) {
        size_t places[2] = {middle + distance, middle - distance - 1}; /* below 0 is far beyond the count */
        for (unsigned side = 0; side < 2 && picture->rows_count < ROWS_MAX; side++) {
            const struct op *op = places[side] < count ? &facts->history->ops[ops[places[side]]] : NULL;
            if (op != NULL && may_be_row(picture, op) && !is_of_finding(picture->finding, op)) {
                picture->rows[picture->rows_count++] = op;
            }
        }
    }
    if (picture->rows_count > 0) {
        qsort(picture->rows, picture->rows_count, sizeof *picture->rows, by_invocation);
    }
}

/* ---- faults ---- */

static const char *name_of(const struct history *history, const struct op *op)
{
    return op->f == OP_FAULT ? history->words.texts[op->error] : op_f_name((enum op_f)op->f);
}

static int64_t stop_of(const struct picture *picture, size_t start)
{
    const struct history *history = picture->facts->history;
    const char *name = name_of(history, picture->faults[start]) + strlen("start-");
    for (size_t i = start + 1; i < picture->faults_count; i++) {
        const struct op *op = picture->faults[i];
        const char *other = name_of(history, op);
        if (op->f == OP_HEAL || (strncmp(other, "stop-", 5) == 0 && strcmp(other + 5, name) == 0)) {
            return op->done;
        }
    }
    return NEVER;
}

static void draw_fault(const struct picture *picture, size_t index, unsigned number)
{
    const struct history *history = picture->facts->history;
    const struct op *op = picture->faults[index];
    const char *name = name_of(history, op);
    double top = HEAD + (double)(number % FAULT_ROWS) * FAULT_ROW;
    bool band = op->f == OP_FAULT && strncmp(name, "start-", 6) == 0;
    if (band) {
        bar(picture, op->done, stop_of(picture, index), top, picture->bottom - top, "fault");
    } else {
        double x = x_of(picture, op->done);
        (void)fprintf(picture->out,
                      "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%d\" class=\"instant\"/>\n", x, top, x,
                      picture->bottom);
    }
    char label[LABEL_BYTES];
    const struct seen *seen = op->seen == 0 ? NULL : &history->seen[op->seen - 1];
    const char *owner =
        seen == NULL || seen->queue == 0 ? "" : history->owners.texts[history->list[seen->queue_first]];
    (void)snprintf(label, sizeof label, "%s%s%s%s", band ? name + 6 : name, owner[0] == '\0' ? "" : " ",
                   owner, seen != NULL && seen->queue > 1 ? " …" : "");
    text_at(picture->out, x_of(picture, op->done) + 3, top + 11, "small", label);
}

/* The next fault from `index` on that shows in the window; the number of faults if there is none. */
static size_t next_fault(const struct picture *picture, size_t index)
{
    for (; index < picture->faults_count; index++) {
        const struct op *op = picture->faults[index];
        const char *name = name_of(picture->facts->history, op);
        if (op->done > picture->to || strncmp(name, "stop-", 5) == 0) {
            continue;
        }
        bool start = strncmp(name, "start-", 6) == 0;
        if (op->done >= picture->from || (start && stop_of(picture, index) >= picture->from)) {
            break;
        }
    }
    return index;
}

static unsigned count_faults(const struct picture *picture)
{
    unsigned count = 0;
    for (size_t i = 0; count < FAULT_ROWS; i++, count++) {
        i = next_fault(picture, i);
        if (i >= picture->faults_count) {
            break;
        }
    }
    return count;
}

static void draw_faults(const struct picture *picture)
{
    size_t i = 0;
    for (unsigned number = 0; number < FAULTS_MAX; number++, i++) {
        i = next_fault(picture, i);
        if (i >= picture->faults_count) {
            break;
        }
        draw_fault(picture, i, number);
    }
}

/* ---- rows ---- */

static void label_of(const struct picture *picture, const struct op *op, char *label)
{
    static const char *const modes[MODES] = {"", " shared", " permits"};
    const char *owner = picture->facts->history->owners.texts[op->owner];
    if (op->f != OP_ACQUIRE) {
        (void)snprintf(label, LABEL_BYTES, "%s%s%s", op_f_name((enum op_f)op->f), op->owner == 0 ? "" : " ",
                       owner);
    } else if (op->outcome == OUTCOME_OK) {
        (void)snprintf(label, LABEL_BYTES, "%s: token %" PRIu64 "%s", owner, op->token, modes[op->mode]);
    } else {
        (void)snprintf(label, LABEL_BYTES, "%s:%s %s %s", owner, modes[op->mode],
                       op_outcome_name((enum op_outcome)op->outcome), facts_word(picture->facts, op->error));
    }
}

static void draw_grant(const struct picture *picture, const struct op *op, double y)
{
    const struct grant *grant = facts_grant(picture->facts, op->token);
    bar(picture, op->invoke, op->done, y + 8, ROW - 16, "wait");
    if (op->outcome != OUTCOME_OK || grant == NULL) {
        return;
    }
    int64_t promised = grant->promised < grant->ended ? grant->promised : grant->ended;
    if (promised > op->done) {
        bar(picture, op->done, promised, y + 4, ROW - 8, "promised");
    }
    if (grant->held_until > op->done) {
        bar(picture, op->done, grant->held_until, y + 4, ROW - 8, "held");
    }
    const struct op *end = grant->release != NULL ? grant->release : grant->loss;
    if (end != NULL && end->invoke >= picture->from && end->invoke <= picture->to) {
        double x = x_of(picture, end->invoke);
        (void)fprintf(picture->out, "<path d=\"M%.1f %.1f l-5 -8 l10 0 z\" class=\"%s\"/>\n", x, y + ROW - 4,
                      end->f == OP_RELEASE ? "release" : "lost");
    }
}

static void draw_read(const struct picture *picture, const struct op *op, double y)
{
    const struct history *history = picture->facts->history;
    char text[LABEL_BYTES] = "";
    bar(picture, op->invoke, op->done, y + 7, ROW - 14, "read");
    const struct seen *seen = op->seen == 0 ? NULL : &history->seen[op->seen - 1];
    if (seen == NULL) {
        (void)snprintf(text, sizeof text, "fence %" PRIu64 " %s", op->fence,
                       op->outcome != OUTCOME_OK ? "?"
                       : op->current             ? "current"
                                                 : "stale");
    } else if (seen->holders == 0) {
        (void)snprintf(text, sizeof text, "no holder, %" PRIu64 " wait", seen->waiters);
    } else {
        (void)snprintf(text, sizeof text, "%" PRIu32 " hold, token %" PRIu64 "%s, %" PRIu64 " wait",
                       seen->holders, history->list[seen->holders_first + 1], seen->holders > 1 ? " …" : "",
                       seen->waiters);
    }
    enum { TEXT_WIDTH = 170 };
    bool left = x_of(picture, op->done) > WIDTH - TEXT_WIDTH;
    double x = left ? x_of(picture, op->invoke) - 4 : x_of(picture, op->done) + 4;
    text_at(picture->out, x, y + 16, left ? "small end" : "small", text);
}

static void draw_rows(const struct picture *picture, double top)
{
    for (size_t i = 0; i < picture->rows_count; i++) {
        const struct op *op = picture->rows[i];
        double y = top + (double)i * ROW;
        bool red = is_of_finding(picture->finding, op);
        char label[LABEL_BYTES];
        label_of(picture, op, label);
        if (i % 2 == 0) {
            (void)fprintf(picture->out,
                          "<rect x=\"0\" y=\"%.1f\" width=\"%d\" height=\"%d\" class=\"stripe\"/>\n", y,
                          WIDTH, ROW);
        }
        text_at(picture->out, 10, y + 16, red ? "label red" : "label", label);
        if (op->f == OP_ACQUIRE) {
            draw_grant(picture, op, y);
        } else {
            draw_read(picture, op, y);
        }
    }
}

/* ---- frame ---- */

static void draw_axis(const struct picture *picture)
{
    double y = picture->bottom;
    (void)fprintf(picture->out, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" class=\"axis\"/>\n", LEFT,
                  y, WIDTH - RIGHT, y);
    for (int i = 0; i <= TICKS; i++) {
        int64_t time = picture->from + (picture->to - picture->from) / TICKS * i;
        char label[LABEL_BYTES];
        (void)snprintf(label, sizeof label, "%.3f s", (double)(time - picture->facts->history->first) / 1e9);
        (void)fprintf(picture->out,
                      "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"axis\"/>\n",
                      x_of(picture, time), y, x_of(picture, time), y + 5);
        text_at(picture->out, x_of(picture, time), y + 18, "small middle", label);
    }
    double x = x_of(picture, picture->finding->time);
    if (picture->finding->until > picture->finding->time) {
        bar(picture, picture->finding->time, picture->finding->until, picture->top,
            picture->bottom - picture->top, "conflict");
    }
    (void)fprintf(picture->out, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%.1f\" class=\"moment\"/>\n", x,
                  HEAD, x, y);
}

static void draw_legend(const struct picture *picture)
{
    static const char *const rows[][2] = {{"wait", "asked, not yet granted"},
                                          {"held", "certainly held"},
                                          {"promised", "promised by its library"},
                                          {"release", "release asked for"},
                                          {"lost", "lost"},
                                          {"read", "read"},
                                          {"fault", "fault"},
                                          {"conflict", "violation"}};
    double x = LEFT;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        (void)fprintf(picture->out, "<rect x=\"%.1f\" y=\"%d\" width=\"14\" height=\"10\" class=\"%s\"/>\n",
                      x, picture->bottom + 35, rows[i][0]);
        text_at(picture->out, x + 18, picture->bottom + 44, "small", rows[i][1]);
        x += 32 + 6.2 * (double)strlen(rows[i][1]);
    }
}

static const char style[] =
    "<style>text{font-family:sans-serif;fill:#222}.title{font-size:16px;font-weight:bold}.said{font-size:13px}"
    ".label{font-size:12px}.red{fill:#c00;font-weight:bold}.small{font-size:10.5px;fill:#555}.middle{text-anchor:middle}.end{text-anchor:end}"
    ".stripe{fill:#f5f6f8}.wait{fill:#cfd8e6}.held{fill:#2f6fb5}.promised{fill:#9cc3ea;fill-opacity:.35;stroke:#2f6fb5;"
    "stroke-dasharray:4 2}.read{fill:#6a9a4b}.release{fill:#222}.lost{fill:#c60}.fault{fill:#e8a33d;fill-opacity:.16;"
    "stroke:#e8a33d;stroke-opacity:.5}.instant{stroke:#e8a33d;stroke-dasharray:2 3}.axis{stroke:#888}"
    ".conflict{fill:#d00;fill-opacity:.13}.moment{stroke:#d00;stroke-width:1.5}</style>\n";

static void draw(struct picture *picture)
{
    const struct finding *finding = picture->finding;
    char title[LABEL_BYTES * 2];
    picture->fault_rows = count_faults(picture);
    picture->top = HEAD + (int)picture->fault_rows * FAULT_ROW + 24;
    picture->bottom = picture->top + (int)picture->rows_count * ROW + 6;
    int height = picture->bottom + 62;
    /* tidy: host because it is the name of the format, which nobody looks up */
    static const char format[] = "http://www.w3.org/2000/svg";
    (void)fprintf(picture->out, "<svg xmlns=\"%s\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n",
                  format, WIDTH, height, WIDTH, height);
    (void)fprintf(picture->out, "%s<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n", style, WIDTH, height);
    (void)snprintf(title, sizeof title, "%s: %s", report_rule_name(finding->rule),
                   report_rule_demand(finding->rule));
    text_at(picture->out, 10, 22, "title", title);
    text_at(picture->out, 10, 44, "said", finding->text);
    if (finding->key != 0) {
        (void)snprintf(title, sizeof title, "key %s", facts_key(picture->facts, finding->key));
        text_at(picture->out, 10, picture->top - 8, "said", title);
    }
    draw_rows(picture, picture->top);
    draw_faults(picture);
    draw_axis(picture);
    draw_legend(picture);
    (void)fputs("</svg>\n", picture->out);
}

static bool complain(const char *path)
{
    (void)fprintf(stderr, "torture_judge: %s: %s\n", path, strerror(errno));
    return false;
}

/* Keys may have '/' and more that file names have not. */
static void plain(char *name)
{
    for (; *name != '\0'; name++) {
        bool good = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
                    (*name >= '0' && *name <= '9');
        *name = good ? *name : '-';
    }
}

static size_t collect_faults(const struct history *history, const struct op **faults)
{
    size_t count = 0;
    for (size_t i = 0; i < history->ops_count; i++) {
        if (history->ops[i].f >= OP_CRASH) {
            faults[count++] = &history->ops[i];
        }
    }
    return count;
}

static bool write_one(const char *directory, struct picture *picture, unsigned number)
{
    const struct finding *finding = picture->finding;
    char key[LABEL_BYTES];
    char path[PATH_BYTES];
    (void)snprintf(key, sizeof key, "%.80s", facts_key(picture->facts, finding->key));
    plain(key);
    int bytes = snprintf(path, sizeof path, "%s/%02u-%s%s%s.svg", directory, number,
                         report_rule_name(finding->rule), key[0] == '\0' ? "" : "-", key);
    if (bytes < 0 || (size_t)bytes >= sizeof path) {
        errno = ENAMETOOLONG;
        return complain(directory);
    }
    picture->out = fopen(path, "w");
    if (picture->out == NULL) {
        return complain(path);
    }
    choose_window(picture);
    choose_rows(picture);
    draw(picture);
    return fclose(picture->out) == 0 || complain(path);
}

bool svg_write_all(const char *directory, const struct facts *facts, const struct report *report)
{
    enum { DIRECTORY_MODE = 0755 };
    if (mkdir(directory, DIRECTORY_MODE) != 0 && errno != EEXIST) {
        return complain(directory);
    }
    const struct op **faults = judge_allocate(facts->history->ops_count, sizeof *faults);
    size_t faults_count = collect_faults(facts->history, faults);
    bool good = true;
    for (unsigned i = 0; i < report->findings_count && good; i++) {
        struct picture picture = {
            .facts = facts, .finding = &report->findings[i], .faults = faults, .faults_count = faults_count};
        good = write_one(directory, &picture, i + 1);
    }
    free(faults);
    return good;
}
