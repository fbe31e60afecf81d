import com.amazon.randomcutforest.RandomCutForest;
import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * AWS's Java forest in a loop of its own: blocks of records on stdin, its own nanoseconds on stdout.
 *
 * <p>Arguments: features, shingle size, trees, sample size, seed. Then, big-endian, again and again:
 *
 * <pre>
 *   in   byte what (1 score, 2 update, 3 score then update) | int records | float64 records x features
 *   out  int64 nanoseconds | float64 score of each record (0 where none was asked for)
 * </pre>
 *
 * Reading, converting and answering are not timed. The end of stdin ends the process.
 */
public final class Loop {
    private static final int SCORE = 1;
    private static final int UPDATE = 2;

    private final RandomCutForest forest;
    private final int features;

    private Loop(int features, int shingle, int trees, int sample, long seed) {
        this.features = features;
        this.forest =
                RandomCutForest.builder()
                        .dimensions(features * shingle)
                        .shingleSize(shingle)
                        .internalShinglingEnabled(true)
                        .numberOfTrees(trees)
                        .sampleSize(sample)
                        .timeDecay(1.0 / (10.0 * sample))
                        .outputAfter(sample)
                        .randomSeed(seed)
                        .parallelExecutionEnabled(false)
                        .build();
    }

    public static void main(String[] args) throws IOException {
        DataInputStream in = new DataInputStream(new BufferedInputStream(System.in, 1 << 16));
        DataOutputStream out = new DataOutputStream(System.out);
        System.setOut(System.err); // what a library prints must not stand among the answers
        Loop loop =
                new Loop(
                        Integer.parseInt(args[0]),
                        Integer.parseInt(args[1]),
                        Integer.parseInt(args[2]),
                        Integer.parseInt(args[3]),
                        Long.parseLong(args[4]));
        while (true) {
            int what;
            try {
                what = in.readByte();
            } catch (EOFException end) {
                return;
            }
            float[][] records = loop.read(in);
            double[] scores = new double[records.length];
            long began = System.nanoTime();
            loop.run(what, records, scores);
            long nanoseconds = System.nanoTime() - began;
            ByteBuffer answer = ByteBuffer.allocate(8 + 8 * scores.length).putLong(nanoseconds);
            answer.asDoubleBuffer().put(scores);
            out.write(answer.array());
            out.flush();
        }
    }

    /** The next block as the forest likes it best: an array of float32 a record. */
    private float[][] read(DataInputStream in) throws IOException {
        float[][] records = new float[in.readInt()][features];
        byte[] bytes = new byte[8 * features];
        for (float[] record : records) {
            in.readFully(bytes);
            ByteBuffer values = ByteBuffer.wrap(bytes);
            for (int i = 0; i < features; i++) {
                record[i] = (float) values.getDouble();
            }
        }
        return records;
    }

    private void run(int what, float[][] records, double[] scores) {
        boolean score = (what & SCORE) != 0;
        boolean update = (what & UPDATE) != 0;
        for (int i = 0; i < records.length; i++) {
            if (score) {
                scores[i] = forest.getAnomalyScore(records[i]);
            }
            if (update) {
                forest.update(records[i]);
            }
        }
    }
}
